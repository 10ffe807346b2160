"""Invalid input, said in one line by a script that is no stage of the command line."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from calibrant.errors import InputError


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """End the script with status 2 and the message of an `InputError`."""
    try:
        yield
    except InputError as error:
        print(f"calibrant {Path(sys.argv[0]).stem}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
