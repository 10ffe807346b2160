"""Numbers as people type them: ASCII digits, and no more of them than a computer counts with."""

import re

LARGEST = 2**63 - 1  # of a whole number that any setting takes
WHOLE = re.compile(r"[+-]?[0-9]+")
REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
MOST_DIGITS = 30  # characters of a whole number that are worth reading


def whole_number(text: str) -> int:
    """The whole number that a text is.

    Raises:
        ValueError: it is none, is in digits of another script, or beyond 64 bits.
    """
    if not WHOLE.fullmatch(text) or len(text) > MOST_DIGITS or abs(number := int(text)) > LARGEST:
        raise ValueError(f"not a whole number of at most 64 bits: {text!r}")
    return number


def real_number(text: str) -> float:
    """The number that a text is; NaN and infinity too, which a setting's bounds refuse by name.

    Raises:
        ValueError: it is none, or in digits of another script.
    """
    if not REAL.fullmatch(text):
        raise ValueError(f"not a number: {text!r}")
    return float(text)
