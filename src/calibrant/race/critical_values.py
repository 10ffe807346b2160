"""Critical values of several comparisons at once: with one candidate (Dunnett), and among all of them (Tukey)."""

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from calibrant.race.set_variances import Array

NODES = 40  # of each quadrature
LARGEST_DF = 1000.0  # beyond it t is normal
COARSE = 0.1  # correlations are rounded down to multiples of this, which makes values larger


def dunnett(alpha: float, rivals: int, correlation: float, df: float) -> float:
    """The one-sided value that the largest of equally correlated t statistics exceeds with probability alpha.

    A smaller correlation only makes it larger, so it is rounded down. Of unequal ones the caller gives the mean; of
    comparisons with one candidate the value is then right to one per cent.

    Args:
        alpha: level, 0 to 1.
        rivals: number of statistics, at least 1.
        correlation: of any two of them, 0 or more.
        df: degrees of freedom of the deviation that they share; rounded down.

    Source: C. W. Dunnett, A multiple comparison procedure for comparing several treatments with a control, 1955.
    """
    step = math.floor(min(max(correlation, 0.0), 0.95) / COARSE + 1e-9) * COARSE
    return _dunnett(alpha, rivals, round(step, 6), _rounded(df))


def tukey(alpha: float, means: int, df: float) -> float:
    """The value that the largest of all pairwise t statistics of `means` equal means exceeds with probability alpha.

    Source: C. Y. Kramer, Extension of multiple range tests to group means with unequal numbers of replications, 1956.
    """
    return _tukey(alpha, means, _rounded(df))


def _rounded(df: float) -> float:
    if df >= LARGEST_DF:
        return LARGEST_DF
    step = 1 if df < 20 else 5 if df < 100 else 20
    return max(1.0, float(math.floor(df / step) * step))


@functools.cache
def _dunnett(alpha: float, rivals: int, correlation: float, df: float) -> float:
    low = float(special.stdtrit(df, 1 - alpha))
    if rivals == 1:
        return low
    z, normal = _normal_nodes()
    shared, own = math.sqrt(correlation), math.sqrt(1 - correlation)

    def within(scaled: Array) -> Array:
        return np.asarray(special.ndtr((scaled[:, None] + shared * z) / own) ** rivals @ normal)

    return _exceeded(alpha, df, within, low, float(special.stdtrit(df, 1 - alpha / rivals)))


@functools.cache
def _tukey(alpha: float, means: int, df: float) -> float:
    z, normal = _normal_nodes()

    def within(scaled: Array) -> Array:
        below = special.ndtr(z) - special.ndtr(z - math.sqrt(2) * scaled[:, None])
        return np.asarray(means * below ** (means - 1) @ normal)

    pairs = means * (means - 1)  # either way round
    low, high = (float(special.stdtrit(df, 1 - share)) for share in (alpha / 2, alpha / pairs))
    return _exceeded(alpha, df, within, low, high)


def _exceeded(alpha: float, df: float, within: Callable[[Array], Array], low: float, high: float) -> float:
    """The value beyond which a statistic over a common deviation lies with probability alpha."""
    deviation, weights = _deviation_nodes(df)

    def too_often(value: float) -> float:
        return 1 - float(weights @ within(value * deviation)) - alpha

    if too_often(0.99 * low) * too_often(1.01 * high) > 0:
        return high  # Bonferroni's, which is always enough: levels so small that the quadrature does not see them
    return float(optimize.brentq(too_often, 0.99 * low, 1.01 * high))


@functools.cache
def _normal_nodes() -> tuple[Array, Array]:
    z, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return z, weights / weights.sum()


@functools.cache
def _deviation_nodes(df: float) -> tuple[Array, Array]:
    """Of a deviation with so many degrees of freedom, relative to its true value: its quantiles, and their weights."""
    u, weights = np.polynomial.legendre.leggauss(NODES)
    place = ((u + 1) / 2) ** 2  # dense where deviations are small, which decide
    return np.sqrt(special.chdtri(df, 1 - place) / df), weights * (u + 1) / 2
