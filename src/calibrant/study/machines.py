"""The table of assumptions: rates of machines, each with its unit and where it is from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.study.cost import Rates
from calibrant.study.merge import read_yaml
from calibrant.study.shapes import Shape

ASSUMPTIONS = Path(__file__).with_name("assumptions.yaml")
LAPTOP_PARAMETERS = 1e9  # up to here a processor is assumed, beyond it a GPU
NAMES = tuple(field.name for field in fields(Rates))  # what --set may change, and `parameters`


@dataclass(frozen=True)
class Assumption:
    """A number, its unit and where it is from."""

    value: float
    unit: str
    origin: str


@cache
def table() -> dict[str, Any]:
    """The whole table."""
    return read_yaml(ASSUMPTIONS)


def machines() -> tuple[str, ...]:
    """The machines whose rates are in the table."""
    return tuple(table()["machines"])


def default_machine(shape: Shape) -> str:
    """A processor for a small model, a GPU for others."""
    return "cpu" if shape.parameters <= LAPTOP_PARAMETERS else "gpu"


def machine_assumptions(machine: str, changes: Mapping[str, float] | None = None) -> dict[str, Assumption]:
    """A machine's rates, `changes` in place of the table's values.

    Raises:
        InputError: no such machine, an unknown name, or a value that is not above 0.
    """
    if machine not in machines():
        raise InputError(f"--machine {machine}: must be one of {', '.join(machines())}")
    found = {name: _assumption(entry) for name, entry in table()["machines"][machine].items()}
    for name, value in (changes or {}).items():
        if name not in NAMES or value <= 0:
            raise InputError(
                f"--set {name}={value:g}: must be a number above 0 for one of {', '.join((*NAMES, 'parameters'))}"
            )
        found[name] = Assumption(value, found[name].unit, "given")
    return found


def rates_of(machine: str, changes: Mapping[str, float] | None = None) -> Rates:
    """The same as numbers.

    Raises:
        InputError: as `machine_assumptions`.
    """
    return Rates(**{name: item.value for name, item in machine_assumptions(machine, changes).items()})


def tokens_table() -> dict[str, Assumption]:
    """Tokens of tasks and texts."""
    return {name: _assumption(entry) for name, entry in table()["tokens"].items()}


def _assumption(entry: Mapping[str, Any]) -> Assumption:
    return Assumption(float(entry["value"]), str(entry.get("unit", "tokens")), str(entry["origin"]))
