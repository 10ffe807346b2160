"""Invalid input, said in one line by a script that is no stage of the command line."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from calibrant import errors


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """End the script with status 2 and the message of an `InputError`."""
    try:
        yield
    except errors.InputError as error:
        print(errors.one_line(f"calibrant {Path(sys.argv[0]).stem}: {error}"), file=sys.stderr)
        sys.exit(2)
