"""Stage evaluate, as `calibrant evaluate` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
