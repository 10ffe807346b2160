"""Stage sample, as `calibrant sample` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["sample", *sys.argv[1:]]))
