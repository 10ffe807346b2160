"""A round of the race, and the page so far (calibrant.cli.workflow_steps)."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["race-round", *sys.argv[1:]]))
