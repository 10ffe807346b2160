"""The variance between sets of each candidate: one for all where they are alike, each its own as far as they are not.

Two or three sets of a text say little of their variance, and all texts together much. How unlike the texts' variances
truly are is read from how much more they differ than chance makes them: each is then drawn towards the common one, and
counts with the degrees of freedom of both.

Source: G. K. Smyth, Linear models and empirical Bayes methods for assessing differential expression, 2004.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
STEPS = 30  # of Newton's method, which takes fewer than ten
LEAST_VARIANCES = 3  # of candidates, of which fewer cannot be said to be unlike
TINY = 1e-300


def set_variances(squares: Array, sets: Counts) -> tuple[Array, float]:
    """Variances [C], and the degrees of freedom of the least sure one; infinite and 0 where no candidate has two sets.

    Args:
        squares: sums of the squared deviations of each candidate's sets from their mean [C].
        sets: their numbers [C].
    """
    own = sets - 1
    total = int(own.sum())
    if total < 1:
        return np.full(len(sets), math.inf), 0.0
    common = float(squares.sum()) / total
    prior, centre = _prior(squares, own)
    if not math.isfinite(prior):
        return np.full(len(sets), common), float(total)
    found = (prior * centre + squares) / (prior + own)
    return found, float(min(total, (prior + own).min()))


def _prior(squares: Array, own: Counts) -> tuple[float, float]:
    """Degrees of freedom that the common variance counts for beside each candidate's, and that variance."""
    there = (own > 0) & (squares > TINY)
    if there.sum() < LEAST_VARIANCES:
        return math.inf, 0.0
    half = own[there] / 2
    logs = np.log(squares[there] / own[there]) - special.digamma(half) + np.log(half)
    weights = 1 / special.polygamma(1, half)
    middle = float((weights * logs).sum() / weights.sum())
    # Excess of the spread over that of chance, by weighted moments; none: the variances are alike.
    excess = float((weights * (logs - middle) ** 2).sum()) - (len(logs) - 1)
    excess /= float(weights.sum() - (weights**2).sum() / weights.sum())
    if excess <= 0:
        return math.inf, 0.0
    prior = 2 * _inverse_trigamma(excess)
    return prior, math.exp(middle + float(special.digamma(prior / 2)) - math.log(prior / 2))


def _inverse_trigamma(value: float) -> float:
    """The x whose trigamma is a value above zero, by Newton's method on the reciprocal, nearly a line (Smyth 2004)."""
    if value > 1e7:
        return 1 / math.sqrt(value)
    x = 0.5 + 1 / value
    for _ in range(STEPS):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) <= 1e-10 * x:
            break
    return x
