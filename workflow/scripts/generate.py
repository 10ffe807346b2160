"""Stage generate, as `calibrant generate` runs it."""

import sys

from calibrant.cli.warm import run_stage

sys.exit(run_stage(["generate", *sys.argv[1:]]))
