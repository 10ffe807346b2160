"""Stage generate, as `calibrant generate` runs it."""

import sys

from calibrant.cli.main import main

sys.exit(main(["generate", *sys.argv[1:]]))
