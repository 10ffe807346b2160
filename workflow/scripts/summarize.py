"""Stage summarize, as `calibrant summarize` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["summarize", *sys.argv[1:]]))
