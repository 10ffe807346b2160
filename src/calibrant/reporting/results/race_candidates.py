"""The candidates of a race, from its facts: in the order of their measure, in per cent worse than the leader."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.race.losses import lower_is_better

STATES = {  # as the facts have them -> in words
    "leader": "leads",
    "best": "best so far",
    "measured": "",
    "as good": "as good",
    "open": "may still be best",
    "worse": "worse",
    "out": "not the best",
    "refused": "refused",
}


@dataclass(frozen=True)
class Raced:
    """A candidate; differences are in per cent of what is measured, above 0 worse than the leader.

    Attributes:
        name, reason: as in the facts.
        state: as in the facts; before the first look `best` or `measured`.
        sets, available: measured, and that there is text for.
        worse: its mean; None before it is measured.
        low, high: the interval of that difference; None of the leader and where nothing is claimed.
        dots: its measured sets; none where several purposes are averaged.
        value: mean of the measured sets in the measure's own unit; None where there is none.
    """

    name: str
    state: str
    reason: str
    sets: int
    available: int
    worse: float | None
    low: float | None
    high: float | None
    dots: Sequence[float]
    value: float | None

    @property
    def said(self) -> str:
        """Its state in words."""
        if self.state == "refused":
            return STATES["refused"]
        return STATES.get(self.state, self.state) if self.sets else "not yet measured"

    @property
    def told(self) -> str:
        """Its state and its number of sets."""
        return ", ".join(filter(None, [self.said, "1 set" if self.sets == 1 else f"{self.sets} sets"]))


def leader_of(facts: Mapping[str, Any]) -> str | None:
    """The candidate that did best so far: as the last look says, or else by the means that there are."""
    if facts["looks"]:
        return str(facts["looks"][-1]["leader"])
    measured = [each for each in facts["candidates"] if each["mean"] is not None]
    return str(min(measured, key=lambda each: each["mean"])["name"]) if measured else None


def raced(facts: Mapping[str, Any]) -> list[Raced]:
    """The candidates, best first; then those that are not measured, and those that were refused."""
    leader = leader_of(facts)
    origin = next((each["mean"] for each in facts["candidates"] if each["name"] == leader), None)
    sign = 1.0 if lower_is_better(facts["measure"]) else -1.0
    found = []
    for each in facts["candidates"]:
        values = [float(value) for value in each["values"] or () if value is not None and value > 0]
        dots = [] if origin is None else [per_cent(sign * math.log(value) - origin) for value in values]
        known = origin is not None and each["mean"] is not None
        found.append(
            Raced(
                each["name"],
                each["state"] if facts["looks"] or each["state"] == "refused" else _early(each["name"] == leader),
                each["reason"],
                each["sets"],
                each["available"],
                per_cent(each["mean"] - origin) if known else None,
                None if each["low"] is None else per_cent(each["low"]),
                None if each["high"] is None else per_cent(each["high"]),
                dots,
                sum(values) / len(values) if values else None,
            )
        )
    return sorted(found, key=_place)


def per_cent(loss: float) -> float:
    """A difference of losses as per cent of what is measured."""
    return 100 * math.expm1(min(loss, 20.0))


def _early(leads: bool) -> str:
    """A state before anything is claimed."""
    return "best" if leads else "measured"


def _place(each: Raced) -> tuple[bool, bool, float]:
    return each.state == "refused", each.worse is None, each.worse or 0.0
