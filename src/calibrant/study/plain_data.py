"""What a study may be made of, wherever it comes from: texts, finite numbers, truth values, lists and mappings."""

import math
import unicodedata
from typing import Any

from calibrant.errors import InputError, shown_value

DEEPEST = 40
MOST = 20_000  # values in all: the largest study that the tests have has 600
LONGEST = 100_000  # characters in all: a job gets the whole study as an argument; Linux takes 131,072 bytes
LARGEST = 2**53  # of a whole number: what JSON keeps exactly


def check_plain(config: Any, name: str) -> None:
    """Refuse values that no key of a study may have.

    Raises:
        InputError: names the key and the value: a number that is not finite or too large, a text with control
            characters or half of a character, a key that is no text, a date, or more values than any study has.
    """
    count = size = 0

    def look(value: Any, key: tuple[str, ...]) -> None:
        nonlocal count, size
        count += 1
        where = f"{name}: {'.'.join(key) or 'the file'}"
        if count > MOST or len(key) > DEEPEST:
            limit = f"more than {MOST:,} values" if count > MOST else f"more than {DEEPEST} levels of values"
            raise InputError(f"{name}: {key[0]} holds {limit}; a study has far fewer")
        if isinstance(value, dict):
            for inner, item in value.items():
                if not isinstance(inner, str):
                    raise InputError(f"{where} has the key {inner!r}, which is no text; write it in quotes")
                if wrong := unreadable(inner):
                    raise InputError(f"{where} has the key {shown_value(inner)}, which holds {wrong}")
                size += len(inner)
                look(item, (*key, inner))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                look(item, (*key, str(index)))
        elif isinstance(value, str):
            size += len(value)
            if wrong := unreadable(value):
                raise InputError(f"{where} is {shown_value(value)}, which holds {wrong}")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise InputError(f"{where} is {value}; it must be a finite number")
        elif isinstance(value, int):
            if abs(value) > LARGEST:
                raise InputError(f"{where} is {shown_value(value)}; it must be a number of at most {LARGEST:,}")
        elif value is not None:
            raise InputError(
                f"{where} is a {type(value).__name__}, {shown_value(str(value))}; if a text was meant, quote it"
            )
        if size > LONGEST:
            raise InputError(f"{name}: the study has more than {LONGEST:,} characters; name files by patterns")

    look(config, ())


def unreadable(text: str) -> str:
    """What keeps a text from being a name or a line: a control character, or half of a character; "" if nothing."""
    for character in text:
        kind = unicodedata.category(character)
        if kind == "Cs" or (kind == "Cc" and character not in "\n\t"):
            what = "half of a character" if kind == "Cs" else "a control character"
            return f"{what} (U+{ord(character):04X})"
    return ""
