"""What metadata must look like: one description for each artefact, for whoever reads it.

A form takes a value and returns None where it fits, else the fault: the key ("layers.0.name"; "" for the value
itself) and what is wrong with it ("is 5; it must be text").
"""

import json
import math
import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from calibrant.errors import InputError

Fault = tuple[str, str]
Form = Callable[[Any], Fault | None]


def check(form: Form, value: Any, where: str) -> None:
    """Refuse metadata that do not fit.

    Raises:
        InputError: `where`, the key, what was found, what it must be.
    """
    if fault := form(value):
        key, wrong = fault
        raise InputError(f"{where}: its metadata key {key or 'calibrant'} {wrong}")


def _fits(fits: bool, value: Any, rule: str) -> Fault | None:
    if fits:
        return None
    found = json.dumps(value, default=str)
    return "", f"is {found if len(found) <= 60 else found[:57] + '...'}; it must be {rule}"


def text(value: Any) -> Fault | None:
    """A string."""
    return _fits(isinstance(value, str), value, "text")


def truth(value: Any) -> Fault | None:
    """True or false."""
    return _fits(isinstance(value, bool), value, "true or false")


def sha256(value: Any) -> Fault | None:
    """A hexadecimal SHA-256."""
    fits = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
    return _fits(fits, value, "a SHA-256 of 64 hexadecimal digits")


def whole(low: int = 0) -> Form:
    """An integer of at least `low`."""
    return lambda value: _fits(
        isinstance(value, int) and not isinstance(value, bool) and low <= value < 2**63,
        value,
        f"a whole number of at least {low}",
    )


def number(low: float = -math.inf, high: float = math.inf) -> Form:
    """A finite number from `low` to `high`."""
    ends = (f"at least {low:g}" if low > -math.inf else "", f"at most {high:g}" if high < math.inf else "")
    rule = " ".join(["a finite number", *(["of"] if any(ends) else []), " and ".join(filter(None, ends))]).strip()

    def form(value: Any) -> Fault | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return _fits(is_number and low <= value <= high and abs(value) <= sys.float_info.max, value, rule)

    return form


def one_of(values: Collection[str]) -> Form:
    """One of these texts."""
    return lambda value: _fits(isinstance(value, str) and value in values, value, " or ".join(values))


def optional(form: Form) -> Form:
    """Null, or what `form` says."""

    def or_null(value: Any) -> Fault | None:
        fault = None if value is None else form(value)
        return fault and (fault[0], f"{fault[1]} or null")

    return or_null


def either(one: Form, other: Form) -> Form:
    """What one of the two says."""
    return lambda value: None if other(value) is None else one(value)


def listed(form: Form, length: int | None = None) -> Form:
    """A list of these, `length` of them where that is said."""

    def items(value: Any) -> Fault | None:
        fits = isinstance(value, list) and length in (None, len(value))
        return _fits(fits, value, "a list" if length is None else f"a list of {length}") or next(
            (_below(str(i), fault) for i, item in enumerate(value) if (fault := form(item))), None
        )

    return items


def named(form: Form) -> Form:
    """An object with keys of any name and values as `form` says."""

    def values(value: Any) -> Fault | None:
        return _fits(isinstance(value, dict), value, "an object") or next(
            (_below(key, fault) for key, item in value.items() if (fault := form(item))), None
        )

    return values


def keys(required: Mapping[str, Form], other: Mapping[str, Form] | None = None) -> Form:
    """An object with the required keys and any of the other ones; keys that are not named here are free."""
    forms = {**required, **(other or {})}

    def fields(value: Any) -> Fault | None:
        if not isinstance(value, dict):
            return _fits(False, value, "an object")
        for key, form in forms.items():
            if key in value and (fault := form(value[key])):
                return _below(key, fault)
            if key in required and key not in value:
                return key, "is missing"
        return None

    return fields


def anything(value: Any) -> Fault | None:
    """Every value fits."""
    return None


def _below(key: str, fault: Fault) -> Fault:
    return (f"{key}.{fault[0]}" if fault[0] else key), fault[1]
