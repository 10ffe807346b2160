"""Take out of a source what shares text with what judges (calibrant.cli.workflow_steps)."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["pool", *sys.argv[1:]]))
