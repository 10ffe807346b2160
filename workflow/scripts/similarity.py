"""Stage similarity, as `calibrant similarity` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["similarity", *sys.argv[1:]]))
