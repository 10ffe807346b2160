"""Stage contamination, as `calibrant contamination` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["contamination", *sys.argv[1:]]))
