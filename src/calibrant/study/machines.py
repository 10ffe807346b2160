"""The table of assumptions: rates of machines, each with its unit and where it is from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.study.cost import Rates
from calibrant.study.shapes import Shape
from calibrant.study.yaml_mappings import read_yaml

ASSUMPTIONS = Path(__file__).with_name("assumptions.yaml")
LAPTOP_PARAMETERS = 1e9  # up to here a processor is assumed, beyond it a GPU
NAMES = tuple(field.name for field in fields(Rates))  # what --set may change, and `parameters`
HERE = "here"  # this computer: measured (models/rates.py), not in the table
SLOWEST = "avx2"  # of the table's processors: what requests to a scheduler reckon with


@dataclass(frozen=True)
class Assumption:
    """A number, its unit and where it is from."""

    value: float
    unit: str
    origin: str


@dataclass(frozen=True)
class Machine:
    """What is known of a machine.

    Attributes:
        name: as `--machine` takes it.
        label: as reports name it.
        dtype: the number format that the rates hold for, which `auto` is there.
        assumptions: its rates, by the names of `cost.Rates`.
        at_once: jobs that it runs at a time, at these rates each.
    """

    name: str
    label: str
    dtype: str
    assumptions: Mapping[str, Assumption]
    at_once: int = 1

    @property
    def rates(self) -> Rates:
        """The rates as numbers."""
        return Rates(**{name: item.value for name, item in self.assumptions.items()})

    def changed(self, changes: Mapping[str, float]) -> "Machine":
        """The same machine with `changes` in place of some of its rates.

        Raises:
            InputError: an unknown name, or a value that is not above 0.
        """
        found = dict(self.assumptions)
        for name, value in changes.items():
            check_change(name, value)
            found[name] = Assumption(value, found[name].unit, "given")
        return replace(self, assumptions=found)


@cache
def table() -> dict[str, Any]:
    """The whole table."""
    return read_yaml(ASSUMPTIONS)


def machines() -> tuple[str, ...]:
    """The machines whose rates are in the table."""
    return tuple(table()["machines"])


def machine_names() -> str:
    """All that `--machine` takes, for messages."""
    return f"{HERE} (this computer, measured), {', '.join(machines())}"


def default_machine(shape: Shape) -> str:
    """This computer for a small model, a GPU for others."""
    return HERE if shape.parameters <= LAPTOP_PARAMETERS else "gpu"


def machine(name: str) -> Machine:
    """A machine of the table.

    Raises:
        InputError: there is none of this name.
    """
    if name not in machines():
        raise InputError(f"--machine {name}: must be one of {machine_names()}")
    entry = table()["machines"][name]
    assumptions = {rate: _assumption(item) for rate, item in entry["rates"].items()}
    return Machine(name, str(entry["label"]), str(entry["dtype"]), assumptions)


def processor_like(dtype: str) -> Machine:
    """The processor of the table that computes in a number format; SLOWEST where none does."""
    found = [machine(name) for name, entry in table()["machines"].items() if entry["dtype"] == dtype]
    return next((one for one in found if one.rates.memory <= 0), machine(SLOWEST))


def check_change(name: str, value: float) -> None:
    """Refuse what `--set` cannot change.

    Raises:
        InputError: an unknown name, or a value that is not above 0.
    """
    known = (*NAMES, "parameters")
    if name not in known or value <= 0:
        raise InputError(f"--set {name}={value:g}: must be a number above 0 for one of {', '.join(known)}")


def tokens_table() -> dict[str, Assumption]:
    """Tokens of tasks and texts."""
    return {name: _assumption(entry) for name, entry in table()["tokens"].items()}


def _assumption(entry: Mapping[str, Any]) -> Assumption:
    return Assumption(float(entry["value"]), str(entry.get("unit", "tokens")), str(entry["origin"]))
