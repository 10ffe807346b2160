"""Calls of transformers over a user's files: quiet, and whatever goes wrong in one line."""

import contextlib
import warnings
from collections.abc import Iterator

from calibrant.errors import InputError, shown

LONGEST = 400  # characters of a reason: transformers names every model type that it knows


@contextlib.contextmanager
def told_in_one_line(what: str) -> Iterator[None]:
    """Any error in the context is `what` with its reason; transformers and PyTorch say nothing beside it.

    A bad value in a file may go wrong anywhere in a library's code, as any kind of error.

    Raises:
        InputError: for any error.
    """
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{what} ({shown(reason(error), LONGEST)})") from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no report of transformers' own: what is wrong is said in one line by the caller."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def reason(error: Exception) -> str:
    """Why a library gave up, in one line: its message, after the kind of error where that is more than a bad value."""
    lines, kind = [line.strip() for line in str(error).splitlines() if line.strip()], type(error).__name__
    if len(lines) > 1 and lines[0].endswith(":"):  # a field's name, and what is wrong with it below
        return lines[1]
    line = lines[0] if lines else kind
    return line if isinstance(error, ValueError | OSError) or line == kind else f"{kind}: {line}"
