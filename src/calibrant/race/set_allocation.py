"""Which candidates get the sets of the next round."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from calibrant.race.bound import best_values
from calibrant.race.evidence import Evidence

LEADER_SHARE = 3  # a contender, and the reference, has at least one set for so many of the leader's


def next_sets(
    evidence: Evidence,
    contenders: npt.NDArray[np.bool_],
    number: int,
    level: float,
    available: Sequence[int],
    reference: int | None = None,
) -> npt.NDArray[np.int64]:
    """How many more sets each candidate gets, `number` in all or as many as there are [C].

    One after the other goes to the leader or to the rival that could be better than it by most, as makes them surer. So
    the bound shrinks soonest (the idea of LUCB, Kalyanakrishnan et al. 2012). The means are taken to stay as they are,
    and the errors to shrink. What is surely not the best gets none, but the reference does.

    Every contender keeps a third of the leader's sets. Without that, a candidate with two unlucky sets would get no
    third one and be judged by them at the end, more often than the bound allows.

    Args:
        evidence: what is known.
        contenders: candidates that may be the best; no other gets a set, but the reference.
        number: sets of the round.
        level: error rate of the next look.
        available: sets that each candidate has text for, in all.
        reference: number of the candidate that the others are compared with.
    """
    leader = evidence.leader_among(contenders)
    room = np.asarray(available, dtype=np.int64)
    gaps = np.where(contenders, evidence.means[leader] - evidence.means, -math.inf)
    gaps[leader] = -math.inf
    common = evidence.document_variances()[leader]
    drawn = np.maximum(evidence.variances - evidence.noise, 0.0)
    value = _value(evidence, contenders, level)
    sets = evidence.sets.copy()
    kept = contenders.copy()
    if reference is not None:
        kept[reference] = True
    for _ in range(number):
        left = contenders & (sets < room)
        behind = kept & (sets < np.minimum(room, sets[leader] / LEADER_SHARE))
        if behind.any():
            places = np.flatnonzero(behind)
            sets[places[np.argmin(sets[places])]] += 1
            continue
        if not left.any():
            break
        reach = gaps + value * np.sqrt(common + drawn[leader] / sets[leader] + drawn / sets)
        # A rival without text left still bounds the answer: then only the leader's error can shrink.
        rival = int(np.argmax(reach if left[leader] else np.where(left, reach, -math.inf)))
        gained = drawn / (sets * (sets + 1))  # of variance, by one more set
        if left[rival] and (gained[rival] > gained[leader] or not left[leader]):
            sets[rival] += 1
        else:
            sets[leader if left[leader] else int(np.flatnonzero(left)[0])] += 1
    return sets - evidence.sets


def _value(evidence: Evidence, contenders: npt.NDArray[np.bool_], level: float) -> float:
    """One critical value for all rivals: they differ little, and only the order matters here."""
    if evidence.reason or contenders.sum() < 2:
        return 0.0
    return float(np.median(best_values(evidence, *evidence.errors(), level, contenders)[contenders]))
