"""A regular expression that a user gives."""

import re

from calibrant.errors import InputError


def read_regex(text: str) -> re.Pattern[str]:
    """Compile a regular expression.

    Raises:
        InputError: says what is wrong in it.
    """
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"not a regular expression ({error})") from None
