"""The course of a race, found anew from its measurements: the looks so far, and the sets that it needs next.

Nothing is remembered between rounds. The same measurements give the same course, whatever was interrupted or run twice,
and a raised budget goes on where the smaller one ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.errors import InputError
from calibrant.race.bound import Bound, bound
from calibrant.race.evidence import Evidence, noises
from calibrant.race.losses import Losses
from calibrant.race.rounds import looks, next_round
from calibrant.race.set_allocation import next_sets
from calibrant.race.set_variances import Array, Counts, set_variances
from calibrant.race.spending import level
from calibrant.race.standing import Standing, standing
from calibrant.settings.race_settings import FIRST


@dataclass(frozen=True)
class Look:
    """A look of a race.

    Attributes:
        sets: measured sets of each candidate [C].
        evidence, found, standing: what is known, and what is said.
    """

    sets: Counts
    evidence: Evidence
    found: Bound
    standing: Standing


@dataclass(frozen=True)
class Course:
    """A race so far.

    Attributes:
        looks: in their order.
        needed: of each candidate how many of its sets must be measured in all before the race can go on [C]; None where
            it ended.
        rounds: that were measured.
    """

    looks: list[Look]
    needed: Counts | None
    rounds: int

    @property
    def ended(self) -> bool:
        """Whether the race is over."""
        return self.needed is None


class Streams:
    """Candidates' measured sets in their order, summarized after any number of them."""

    def __init__(self, losses: Losses, names: Sequence[str]) -> None:
        self.documents = losses.documents
        self.measured = np.array([len(losses.scores[name]) if name in losses.scores else 0 for name in names])
        scores = [losses.scores[name] for name in names if name in losses.scores]
        self._origins = np.array([each[0] for each in scores])  # of sums of squares, which would lose digits
        self._sums = [np.cumsum(each - each[0]) for each in scores]
        self._squares = [np.cumsum((each - each[0]) ** 2) for each in scores]
        self._pulls = [np.cumsum(losses.pulls[name], axis=0) for name in names if name in losses.scores]
        self._norms = [np.cumsum((losses.pulls[name] ** 2).sum(axis=1)) for name in names if name in losses.scores]

    def squares(self, sets: Counts) -> Array:
        """Sums of the squared deviations of each candidate's first sets from their mean [C]."""
        last = (sets - 1).tolist()
        sums, squares = (
            np.array([each[i] for each, i in zip(of, last, strict=True)]) for of in (self._sums, self._squares)
        )
        return np.maximum(squares - sums**2 / sets, 0.0)

    def evidence(self, sets: Counts) -> Evidence:
        """What the first `sets` [C] of each candidate say."""
        last = (sets - 1).tolist()
        sums = np.array([each[i] for each, i in zip(self._sums, last, strict=True)])
        variances, df = set_variances(self.squares(sets), sets)
        pulls = np.array([each[i] for each, i in zip(self._pulls, last, strict=True)]) / sets[:, None]
        norms = np.array([each[i] for each, i in zip(self._norms, last, strict=True)])
        noise = noises(np.maximum(norms - sets * (pulls**2).sum(axis=1), 0.0), sets)
        return Evidence(self._origins + sums / sets, sets.copy(), variances, df, pulls, noise, self.documents)


def course(
    losses: Losses,
    names: Sequence[str],
    budgets: Sequence[int],
    *,
    margin: float = 0.01,
    available: Sequence[int] | None = None,
    reference: str | None = None,
    allocate: Callable[..., Any] = next_sets,
) -> Course:
    """How a race went as far as it is measured, and what it needs.

    Args:
        losses: of the measured sets of each candidate, in the order of the sets' numbers; a candidate may lack.
        names: of the candidates, in an order that stays.
        budgets: the budget in sets, followed by what it was raised to.
        margin: losses that differ by less are as good; the race ends where the bound is within it.
        available: sets that each candidate has text for; None: no end.
        reference: the candidate that the leader is compared with; it always gets sets.
        allocate: who gets the next sets (`set_allocation`).

    Raises:
        InputError: a name that is no candidate, budgets that do not grow, or as `rounds.looks`.
    """
    _check(losses, names, budgets, reference)
    room = [sum(budgets)] * len(names) if available is None else list(available)
    budgets = _within(budgets, sum(room))
    at = None if reference is None else list(names).index(reference)
    sets = np.minimum(np.full(len(names), FIRST), room)
    before: Bound | None = None
    streams = Streams(losses, names)
    if (streams.measured < sets).any():
        return Course([], sets, 0)
    found: list[Look] = []
    rounds, earlier, used_up = 1, 0, False
    evidence = streams.evidence(sets)
    for look in looks(len(names), budgets):
        share = level(look, earlier, budgets)
        while (measured := int(sets.sum())) < look and not used_up:
            inside = np.ones(len(names), dtype=bool) if before is None else before.contenders
            more = allocate(evidence, inside, next_round(measured, look) - measured, share, room, at)
            used_up = not more.any()
            if (sets + more > streams.measured).any():
                return Course(found, sets + more, rounds)
            if not used_up:
                sets, rounds = sets + more, rounds + 1
                evidence = streams.evidence(sets)
        here = bound(evidence, share, before)
        spent = used_up or look == budgets[-1]
        said = standing(names, evidence, here, margin, reference=reference, spent=spent)
        found.append(Look(sets.copy(), evidence, here, said))
        if said.stopped:
            break
        before, earlier = here, look
    return Course(found, None, rounds)


def _within(budgets: Sequence[int], most: int) -> list[int]:
    """Budgets without what there is no text for."""
    kept = [min(budget, most) for budget in budgets]
    return [each for number, each in enumerate(kept) if not number or each > kept[number - 1]]


def _check(losses: Losses, names: Sequence[str], budgets: Sequence[int], reference: str | None) -> None:
    unknown = sorted(set(losses.scores) - set(names))
    if unknown:
        raise InputError(f"{unknown[0]}: was measured, but is no candidate; there are {', '.join(names) or 'none'}")
    if len(set(names)) < len(names):
        raise InputError(f"two candidates have one name among {', '.join(names)}; give them two")
    if reference is not None and reference not in names:
        raise InputError(f"--reference {reference}: is no candidate; there are {', '.join(names)}")
    if not budgets or list(budgets) != sorted(set(budgets)):
        raise InputError(f"budgets {list(budgets)}: must grow; append the larger one to those before it")
