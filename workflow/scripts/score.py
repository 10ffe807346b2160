"""Stage score, as `calibrant score` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["score", *sys.argv[1:]]))
