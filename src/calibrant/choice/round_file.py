"""The file of a round, and the runs that it names: what the workflow follows a race by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json
from calibrant.choice.entries import entries
from calibrant.errors import InputError
from calibrant.study.grid import Run

KEYS = {"round", "measured", "needed", "valued", "facts"}


def read_round(path: str | Path) -> dict[str, Any]:
    """A round's file.

    `measured` and `needed` are sets of each candidate, the latter null at the end; `valued` names the sets that are
    evaluated then, as [candidate, number], the one that is handed over first.

    Raises:
        InputError: it is none.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not found.keys() >= KEYS:
        raise InputError(f"{path}: is no round of a race; remove it, and it is made anew")
    return found


def measured_runs(config: Mapping[str, Any], counts: Mapping[str, int]) -> list[Run]:
    """The runs of the first sets of each candidate."""
    named = entries(config)
    return [named[name].run(config, number) for name, count in counts.items() for number in range(count)]


def valued_runs(config: Mapping[str, Any], valued: Sequence[tuple[str, int]]) -> list[Run]:
    """The runs that a last round names."""
    named = entries(config)
    return [named[name].run(config, number) for name, number in valued]
