"""Write the answer of a race that has ended (calibrant.cli.workflow_steps)."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["race-answer", *sys.argv[1:]]))
