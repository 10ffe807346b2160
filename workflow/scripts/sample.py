"""Stage sample, as `calibrant sample` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["sample", *sys.argv[1:]]))
