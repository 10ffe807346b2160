"""Resolve `compute.dtype: auto` for a study, on the machine where it begins (calibrant.cli.workflow_steps)."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["number-format", *sys.argv[1:]]))
