"""Which set is handed over, and what it is worth on documents that took no part in choosing it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from calibrant.race.losses import Losses
from calibrant.race.standing import Difference

ALPHA = 0.05


@dataclass(frozen=True)
class Handover:
    """A set of a candidate.

    Attributes:
        candidate: its name.
        number: of its set.
        expected: its loss, as far as that is expected to be met again: towards its candidate's mean by the share of the
            sets' spread that is error.
    """

    candidate: str
    number: int
    expected: float


def best_set(losses: Losses, as_good: Sequence[str]) -> Handover:
    """The set that is expected to be best, of the candidates that are as good.

    The best of n sets looks better than it is. Part of what sets differ by on the selection half is its documents'
    doing; only the rest is expected again.

    Args:
        losses: of the measured sets.
        as_good: names of candidates (`Standing.as_good`, which has the leader at least).

    Raises:
        ValueError: no candidate.
    """
    if not as_good:
        raise ValueError("no candidate to hand over a set of; the leader is one always")
    found = []
    for name in as_good:
        scores = losses.scores[name]
        mean = float(scores.mean())
        share = reliability(losses, name)
        expected = mean + share * (scores - mean)
        number = int(np.argmin(expected))
        found.append(Handover(name, number, float(expected[number])))
    return min(found, key=lambda each: each.expected)


def reliability(losses: Losses, name: str) -> float:
    """The share of the variance between a candidate's sets that is the sets' own, not the documents'; 0 to 1."""
    scores = losses.scores[name]
    between = float(scores.var(ddof=1)) if len(scores) > 1 else 0.0
    return min(1.0, own_variance(losses, name) / between) if between > 0 else 0.0


def own_variance(losses: Losses, name: str) -> float:
    """The variance between a candidate's sets without what is the documents' doing; 0 of a single set."""
    scores, pulls = losses.scores[name], losses.pulls[name]
    if len(scores) < 2:
        return 0.0
    noise = float(((pulls - pulls.mean(axis=0)) ** 2).sum()) / (len(scores) - 1)
    return max(0.0, float(scores.var(ddof=1)) - noise)


def value(test: Losses, handed: str, reference: str) -> Difference:
    """By how much a set is better than the reference's measured sets are on average, on the test half; 95 % interval.

    All these sets are as they are, and only the documents are drawn: none of them took part in choosing. What another
    set of the reference's text would do is another question, which its sets cannot answer once they have lost: they may
    have lost by bad luck.

    Args:
        test: losses on the test half, of the set (one score) and of the reference's sets.
        handed: the name of the set in `test`.
        reference: that of the reference.
    """
    own, other = test.scores[handed], test.scores[reference]
    error = float(((test.pulls[handed].mean(axis=0) - test.pulls[reference].mean(axis=0)) ** 2).sum()) ** 0.5
    half = float(special.stdtrit(max(1.0, test.documents - 1), 1 - ALPHA / 2)) * error
    difference = float(other.mean() - own.mean())
    return Difference(difference, difference - half, difference + half)
