"""`python -m calibrant` is `calibrant`."""

import sys

from calibrant.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
