"""Stage filter, as `calibrant filter` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["filter", *sys.argv[1:]]))
