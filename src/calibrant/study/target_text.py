"""The text of a target in a configuration: its one spelling, what a file is called by it, which methods take it."""

import re
from functools import cache
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.method_targets import check_target
from calibrant.settings.target import parse_target

DENSE = "0"  # of the model that nothing was done to
WIDTHS = "; a width is written w4, or w4g64 with a scale for every 64 columns"


def normal_target(value: Any, where: str = "target") -> str:
    """`0.60` -> `0.6`; `2:4` and `w4g64` as they are. What is a target is `settings.target.parse_target`'s to say.

    Raises:
        InputError: as `parse_target`, with the key.
    """
    try:
        return str(parse_target(str(value)))
    except InputError as error:
        said = re.sub("^(sparsity|target) ", "", str(error))
        widths = WIDTHS if "neither" in said and re.search("[a-z]", str(value)) else ""
        raise InputError(f"{where}: {said}{widths}{_quotes_hint(value)}") from None


@cache
def target_file_name(target: str) -> str:
    """As file names carry a target: `0.6`, `2of4+w4g64`; `0` of the dense model."""
    return target if target == DENSE else parse_target(target).file_name


def check_pair(method: str, target: str, where: str) -> None:
    """Refuse a method of a grid that cannot compress to one of its targets.

    Raises:
        InputError: names the grid, the method and the target.
    """
    try:
        check_target(method, parse_target(target))
    except InputError as error:
        raise InputError(
            f"{where} at target {target}: {error}; each method of a grid runs at each of its targets: give others a "
            "grid of their own"
        ) from None


def _quotes_hint(value: object) -> str:
    """YAML reads 2:4 without quotes as two minutes and four seconds."""
    if not isinstance(value, int) or not 0 < value // 60 < value % 60:
        return ""
    pattern = f"{value // 60}:{value % 60}"
    return f'; if {pattern} was meant, write "{pattern}": without the quotes YAML makes {value} of it'
