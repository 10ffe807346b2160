"""Stage evaluate, as `calibrant evaluate` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["evaluate", *sys.argv[1:]]))
