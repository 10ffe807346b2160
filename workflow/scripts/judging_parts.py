"""Divide a judging text into its parts (calibrant.cli.workflow_steps)."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["judging-parts", *sys.argv[1:]]))
