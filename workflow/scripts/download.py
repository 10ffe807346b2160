"""Stage download, as `calibrant download` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["download", *sys.argv[1:]]))
