"""Stage filter, as `calibrant filter` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["filter", *sys.argv[1:]]))
