"""How much better than the leader any candidate can be: multiple comparisons with the best.

Let k be the best candidate. With probability 1 - alpha no other one seems better against k than it is by more than q
standard errors, where q is Dunnett's one-sided value for comparisons with k. Then the true loss of any candidate i is
at most max(0, m[i] - m[k] + q se[i, k]) above the best. Since k is not known, the largest of these over all rivals is
taken. It holds for whatever leader the data chose, and for every candidate at once.

Source: J. C. Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, 1984.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrant.race.critical_values import dunnett, tukey
from calibrant.race.evidence import Evidence
from calibrant.race.set_variances import Array


@dataclass(frozen=True)
class Bound:
    """What a look says; losses are on a logarithmic scale, 0.01 is one per cent.

    Attributes:
        leader: number of the candidate with the smallest mean.
        excess: what each candidate adds to the bound, were it the best [C]. Below zero: it is surely not the best. The
            leader's own is minus infinity. Only the largest is a bound.
        worst: of each candidate how much worse than the best it can be, at most, by this look and those before it [C].
        worse: of each candidate whether it is worse than the leader beyond doubt [C].
        level: error rate of this look.
        contenders: of each candidate whether it may still be the best, for the looks that follow [C].
        reason: why nothing is claimed; "" where something is.
    """

    leader: int
    excess: Array
    worst: Array
    worse: npt.NDArray[np.bool_]
    level: float
    contenders: npt.NDArray[np.bool_]
    reason: str = ""

    @property
    def bound(self) -> float:
        """Nothing tried is more than this better than the leader."""
        return float(self.worst[self.leader])

    def as_good(self, margin: float) -> list[int]:
        """Candidates that are surely within the margin of the best."""
        return [number for number, worst in enumerate(self.worst) if worst <= margin]


def bound(evidence: Evidence, level: float, before: Bound | None = None) -> Bound:
    """The bound at one look, which may err with probability `level`.

    Args:
        evidence: what is known.
        level: error rate of this look (`spending.level`).
        before: the bound at the look before. Only its contenders may be the best, or the leader; and what it said of
            each candidate holds still, since all looks together err no more often than they may.

    Raises:
        ValueError: a loss or variance that is no number.
    """
    known = np.isfinite(evidence.means).all() and (bool(evidence.reason) or np.isfinite(evidence.variances).all())
    if not known:
        raise ValueError("a mean loss or a variance is not a finite number")
    count = len(evidence.means)
    inside = np.ones(count, dtype=bool) if before is None else before.contenders.copy()
    leader = evidence.leader_among(inside)
    nothing = np.full(count, math.inf) if before is None else before.worst
    if evidence.reason:
        excess = np.full(count, math.inf)
        excess[leader] = -math.inf
        return Bound(leader, excess, nothing, np.zeros(count, dtype=bool), level, inside, evidence.reason)
    errors, df = evidence.errors()
    best = best_values(evidence, errors, df, level, inside)
    gaps = evidence.means[:, None] - evidence.means[None, :]  # of i above j
    reach = np.where(inside[None, :], gaps + best[None, :] * errors, -math.inf)
    np.fill_diagonal(reach, -math.inf)
    apart = tukey(level, count, float(df[~np.eye(count, dtype=bool)].min())) * errors[leader]
    worse = evidence.means - evidence.means[leader] > apart
    inside &= reach[leader] > 0
    inside[leader] = True
    worst = np.minimum(np.maximum(reach.max(axis=1), 0.0), nothing)
    return Bound(leader, reach[leader], worst, worse, level, inside)


def best_values(evidence: Evidence, errors: Array, df: Array, level: float, contenders: npt.NDArray[np.bool_]) -> Array:
    """Of each contender Dunnett's value for comparisons of all others with it, as if it were best; else zero [C]."""
    rivals = len(evidence.means) - 1
    own = _own_variances(errors)
    with_k = np.sqrt(own[:, None] / (own[:, None] + own[None, :]))
    np.fill_diagonal(with_k, 0.0)
    pairs = (with_k.sum(axis=1) ** 2 - (with_k**2).sum(axis=1)) / max(1, rivals * (rivals - 1))
    least = np.where(np.eye(rivals + 1, dtype=bool), math.inf, df).min(axis=1)
    return np.array(
        [
            dunnett(level, rivals, pair, each) if inside else 0.0
            for pair, each, inside in zip(pairs.tolist(), least.tolist(), contenders.tolist(), strict=True)
        ]
    )


def _own_variances(errors: Array) -> Array:
    """Variances of candidates whose sums are about those of the differences [C]."""
    count = len(errors)
    squares = errors**2
    if count < 3:
        return np.full(count, float(squares.max()) / 2 or 1.0)
    rows = (squares.sum(axis=1) - np.diag(squares)) / (count - 2)
    total = (squares.sum() - np.trace(squares)) / (2 * (count - 1) * (count - 2))
    found: Array = np.maximum(rows - total, 1e-3 * max(float(squares.max()), 1e-300))
    return found
