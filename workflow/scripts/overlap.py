"""Stage overlap, as `calibrant overlap` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["overlap", *sys.argv[1:]]))
