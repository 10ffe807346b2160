"""Stage statistics, as `calibrant statistics` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["statistics", *sys.argv[1:]]))
