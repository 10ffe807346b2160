"""Stage prune, as `calibrant prune` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["prune", *sys.argv[1:]]))
