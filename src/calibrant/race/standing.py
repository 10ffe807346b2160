"""Where a race stands after a look: what can be said, and whether it ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.race.bound import Bound, best_values
from calibrant.race.critical_values import dunnett
from calibrant.race.evidence import Evidence
from calibrant.race.set_allocation import next_sets
from calibrant.race.shrinkage import expected_regret

ONE_LEFT, ALIKE, BUDGET = "one left", "alike", "budget"


@dataclass(frozen=True)
class Difference:
    """A difference of losses, 0.01 is one per cent, with its interval at the confidence of the look."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """What a look says, in the names of candidates; losses are on a logarithmic scale, 0.01 is one per cent.

    Attributes:
        leader: the candidate with the smallest loss.
        candidates: their number.
        bound: nothing tried is more than this better than the leader; infinite where nothing can be said.
        expected: how much worse than the best the leader is expected to be (`shrinkage`).
        as_good: the leader, and candidates that are surely within the margin of the best.
        out: candidates that are surely not the best; they get no more sets.
        worse: candidates that are worse than the leader beyond doubt.
        indifferent: all candidates are surely within this of the best; infinite where nothing can be said.
        gain: by how much the leader is better than the reference; None without one, or where it leads itself.
        stopped: `one left` or `alike` where the bound is within the margin, `budget` at the budget's end, else "".
        reason: why nothing is claimed; "" where something is.
    """

    leader: str
    candidates: int
    bound: float
    expected: float
    as_good: tuple[str, ...]
    out: tuple[str, ...]
    worse: tuple[str, ...]
    indifferent: float
    gain: Difference | None
    stopped: str
    reason: str


def standing(
    names: Sequence[str],
    evidence: Evidence,
    found: Bound,
    margin: float,
    *,
    reference: str | None = None,
    spent: bool = False,
) -> Standing:
    """What a look says.

    Args:
        names: of the candidates, in the order of the evidence.
        evidence: what is known.
        found: the bound.
        margin: losses that differ by less are as good.
        reference: the candidate that the leader is compared with.
        spent: whether the budget is.
    """
    known = not found.reason
    stopped = BUDGET if spent else ""
    if known and found.bound <= margin:
        stopped = ONE_LEFT if found.contenders.sum() == 1 else ALIKE
    return Standing(
        names[found.leader],
        len(names),
        found.bound,
        expected_regret(evidence, found.leader),
        tuple(names[i] for i in sorted({found.leader, *(found.as_good(margin) if known else ())})),
        tuple(name for name, inside in zip(names, found.contenders, strict=True) if not inside),
        tuple(name for name, worse in zip(names, found.worse, strict=True) if worse),
        float(found.worst.max()),
        None if reference is None else gain(evidence, found, names.index(reference)),
        stopped,
        found.reason,
    )


def gain(evidence: Evidence, found: Bound, reference: int) -> Difference | None:
    """The reference's loss minus the leader's, with an interval that holds whichever candidate leads.

    It is one of the simultaneous intervals of all candidates' differences to the reference (Dunnett, two-sided). None
    where the reference leads or nothing can be said.
    """
    if found.reason or reference == found.leader:
        return None
    errors, df = evidence.errors()
    others = np.arange(len(evidence.means)) != reference
    value = dunnett(found.level / 2, int(others.sum()), 0.0, float(df[reference][others].min()))
    half = value * float(errors[reference, found.leader])
    difference = float(evidence.means[reference] - evidence.means[found.leader])
    return Difference(difference, difference - half, difference + half)


def forecast(
    evidence: Evidence,
    found: Bound,
    more: int,
    level: float,
    available: Sequence[int],
    reference: int | None = None,
) -> float:
    """The bound that so many more sets would bring, if the means stay as they are and errors shrink; none is larger.

    Args:
        evidence, found: of the last look.
        more: sets.
        level: error rate of the look after them.
        available: sets that each candidate has text for, in all.
        reference: number of the reference.
    """
    if found.reason:
        return math.inf
    sets = evidence.sets + next_sets(evidence, found.contenders, more, level, available, reference)
    errors, df = evidence.errors(sets)
    best = best_values(evidence, errors, df, level, found.contenders)
    reach = evidence.means[found.leader] - evidence.means + best * errors[found.leader]
    reach[found.leader] = -math.inf
    return min(found.bound, max(0.0, float(reach[found.contenders].max())))
