"""Statistics over calibration sets: t intervals of linear contrasts, equivalence, Holm's correction, power.

Sets are the replicates. The error of one evaluation over its items is another matter and never enters these functions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

CONFIDENCE = 0.95
ALPHA = 0.05
SMALLEST = math.log(1e-12)  # no p-value is told below
NO_SPREAD = 1e-12  # rounding leaves about 1e-16 of spread between equal values: that is none


@dataclass(frozen=True)
class Estimate:
    """A mean, or a weighted sum of means, and what is known of its spread; None where there are too few values.

    Attributes:
        mean: the estimate.
        sd: standard deviation between sets (n - 1 in the denominator; pooled over groups); None with one set.
        n: number of values.
        low, high: 95 % interval by Student's t; None with one set or without any spread.
        p: two-sided p-value of a true value of zero, under the same t; None where there is no interval.
        df: degrees of freedom of that t, infinite for a normal interval; 0 where there is no interval of either kind.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    df: float = 0

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and it lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def error(self) -> float | None:
        """Standard error, where the interval is a t interval."""
        return None if self.high is None or self.df == 0 else (self.high - self.mean) / quantile(self.df)


def quantile(df: float, alpha: float = ALPHA) -> float:
    """How many standard errors a t interval (of 95 % by default) reaches to either side; normal for infinite df."""
    return float(special.stdtrit(df, 1 - alpha / 2))


def tail(t: float, df: float) -> float:
    """One-sided p-value of a t statistic."""
    return float(special.stdtr(df, -t))


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, standard deviation, 95 % t interval and p-value (of a zero mean) of at least one value.

    Values without any spread get no interval: a handful of equal scores on a coarse scale (accuracy over
    a few items) is no evidence of certainty.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    return combination([values], [1.0])


def combination(groups: Sequence[Sequence[float]], weights: Sequence[float], offset: float = 0.0) -> Estimate:
    """The weighted sum of the means of independent groups, plus a constant: a linear contrast.

    Variances may differ between groups: se² = sum(w² s² / n), with Satterthwaite's degrees of freedom. For two groups
    with weights 1 and -1 this is Welch's test, for one group Student's. `sd` is pooled over the groups.

    Source: F. E. Satterthwaite, An approximate distribution of estimates of variance components, 1946.

    Raises:
        ValueError: no group, an empty one, another number of weights, or a value that is not finite.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    if not arrays or len(arrays) != len(weights) or any(x.size == 0 or not np.isfinite(x).all() for x in arrays):
        raise ValueError(f"a contrast needs finite values and a weight for each group, got {list(groups)}")
    mean = offset + math.fsum(w * float(x.mean()) for w, x in zip(weights, arrays, strict=True))
    n = sum(x.size for x in arrays)
    sd = pooled_deviation(groups)
    if any(x.size < 2 for x in arrays):
        return Estimate(mean, sd, n)
    parts = [w * w * float(x.var(ddof=1)) / x.size for w, x in zip(weights, arrays, strict=True)]
    error = math.sqrt(sum(parts))
    if error <= NO_SPREAD * max(1.0, abs(mean), *(abs(float(x.mean())) for x in arrays)):
        return Estimate(mean, sd, n)
    df = sum(parts) ** 2 / sum(part**2 / (x.size - 1) for part, x in zip(parts, arrays, strict=True))
    return by_t(mean, error, df, n, sd)


def by_t(mean: float, error: float, df: float, n: int, sd: float | None = None) -> Estimate:
    """An estimate with its t interval and p-value, from its standard error."""
    half = quantile(df) * error
    return Estimate(mean, sd, n, mean - half, mean + half, 2 * tail(abs(mean) / error, df), df)


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation within groups, pooled over them; None where no group has two values."""
    arrays = [np.asarray(group, dtype=np.float64) for group in groups if len(group)]
    df = sum(x.size - 1 for x in arrays)
    return math.sqrt(sum(float(x.var()) * x.size for x in arrays) / df) if df else None


def deviation_trend(groups: Sequence[tuple[float, Sequence[float]]]) -> Estimate | None:
    """The change of the log standard deviation for each unit of x, by a line through the groups of (x, values).

    Takes values to be normal, so that (n - 1) s² / σ² is chi-squared: its logarithm has a known mean and variance,
    which give the weights, the interval and p (normal). None without two different x with two values or more that vary.
    """
    points = []
    for x, values in groups:
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        if sd > NO_SPREAD * max(1.0, abs(float(np.mean(values)))):
            k = (len(values) - 1) / 2
            bias = float(special.digamma(k)) - math.log(k)
            points.append((x, math.log(sd) - bias / 2, 4 / float(special.polygamma(1, k)), len(values)))
    if len({x for x, *_ in points}) < 2:
        return None
    place, y, w = (np.array(column) for column in list(zip(*points, strict=True))[:3])
    centred = place - np.average(place, weights=w)
    slope = float((w * centred * y).sum() / (w * centred**2).sum())
    error = 1 / math.sqrt(float((w * centred**2).sum()))
    return by_t(slope, error, math.inf, sum(n for *_, n in points))


def p_above(found: Estimate, bound: float = 0.0, bound_df: float = math.inf) -> float | None:
    """Twice the one-sided p-value of a true value at `bound` or below: under 0.05 where the interval lies above it.

    None without an interval. Twice, so that it compares with two-sided p-values. With `p_below` of the same bound, the
    smaller one is the two-sided p.

    Args:
        found: the estimate.
        bound: what it is compared with.
        bound_df: degrees of freedom of the deviation that the bound is a multiple of; infinite for one that is known.

    Raises:
        ValueError: a bound other than 0 for an interval that is no t interval.
    """
    if found.low is None or found.p is None:
        return None
    if found.error is None:
        if bound:
            raise ValueError(f"an interval that is no t interval is tested against 0, not {bound}")
        return found.p if found.mean > 0 else 2 - found.p if found.p < 1 else 1.0
    if bound and math.isfinite(bound_df):
        return _p_beyond(found.mean - bound, found.error, found.df, bound, bound_df)
    return 2 * tail((found.mean - bound) / found.error, found.df)


def _p_beyond(distance: float, error: float, df: float, bound: float, bound_df: float) -> float:
    """As `p_above` with a bound that is estimated: where the interval of the distance reaches zero.

    Of a mean and a deviation, which are independent, the squared distances to their limits add up (MOVER).

    Source: G. Y. Zou and A. Donner, Construction of confidence limits about effect measures: a general approach, 2008.
    """

    def lacking(log_p: float) -> float:
        p = math.exp(log_p)
        reach = abs(bound) * deviation_reach(bound_df, p, upward=bound > 0)
        return math.hypot(quantile(df, p) * error, reach) - distance

    if lacking(0.0) >= 0:
        return 1.0
    if lacking(SMALLEST) <= 0:
        return math.exp(SMALLEST)
    return math.exp(float(optimize.brentq(lacking, SMALLEST, 0.0, xtol=1e-6)))


def deviation_reach(df: float, alpha: float, *, upward: bool) -> float:
    """How far the chi-squared interval of a deviation reaches to one side, as a share of the deviation."""
    if not math.isfinite(df):
        return 0.0
    ratio = math.sqrt(df / float(special.chdtri(df, 1 - alpha / 2 if upward else alpha / 2)))
    return max(0.0, ratio - 1 if upward else 1 - ratio)


def p_below(found: Estimate, bound: float = 0.0, bound_df: float = math.inf) -> float | None:
    """As `p_above`, of a true value at `bound` or above."""
    if found.low is None or found.high is None:
        return None
    return p_above(replace(found, mean=-found.mean, low=-found.high, high=-found.low), -bound, bound_df)


def equivalence(found: Estimate, margin: float, margin_df: float = math.inf) -> float | None:
    """Two one-sided t tests (TOST): twice the p-value of a true value that is `margin` or more away from zero.

    Under 0.05 where the 95 % interval lies within ± margin, which is stricter than the usual 90 % interval; of a margin
    that is estimated, where the interval of the distance to it does (`p_above`). None without an interval.

    Source: D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach, 1987.
    """
    above, below = p_above(found, -margin, margin_df), p_below(found, margin, margin_df)
    return None if above is None or below is None else max(above, below)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values, in the order given; None stays None and does not count.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * p))
        adjusted[i] = running
    return adjusted
