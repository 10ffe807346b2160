"""Download a source of files that races (calibrant.cli.workflow_steps)."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["race-source", *sys.argv[1:]]))
