"""Stage summarize, as `calibrant summarize` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["summarize", *sys.argv[1:]]))
