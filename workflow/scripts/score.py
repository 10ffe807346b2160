"""Stage score, as `calibrant score` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["score", *sys.argv[1:]]))
