"""Stage download, as `calibrant download` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["download", *sys.argv[1:]]))
