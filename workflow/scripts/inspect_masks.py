"""Stage inspect, as `calibrant inspect` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["inspect", *sys.argv[1:]]))
