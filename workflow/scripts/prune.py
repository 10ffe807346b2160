"""Stage prune, as `calibrant prune` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["prune", *sys.argv[1:]]))
