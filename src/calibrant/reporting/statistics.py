"""Statistics over seeds: estimates with Student t intervals, paired differences, Holm's correction, power.

Seeds are the replicates: a value is what one seed gave (or the difference of two values that share a seed).
The error of one evaluation over its items is another matter and never enters these functions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and what is known of its spread; None where the number of seeds does not allow it.

    Attributes:
        mean: arithmetic mean over the seeds.
        sd: sample standard deviation (n - 1 in the denominator); None with one seed.
        n: number of values.
        low, high: 95 % interval of the mean by Student's t; None with one seed or without any spread.
        p: two-sided p-value of a mean of zero, under the same t; None where there is no interval.
        df: degrees of freedom of that t; 0 where there is no interval.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    df: int = 0

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and it lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, standard deviation, 95 % t interval and p-value (of a zero mean) of at least one value.

    Values without any spread get no interval: a handful of equal scores on a coarse scale (accuracy over
    a few items) is no evidence of certainty.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"an estimate needs finite values, got {list(values)}")
    mean = float(x.mean())
    if x.size == 1:
        return Estimate(mean, None, 1)
    sd = float(x.std(ddof=1))
    return _with_interval(mean, sd, int(x.size), sd / math.sqrt(x.size), int(x.size) - 1)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """The mean of `second - first`, pair by pair (the same seed in both), as `estimate` gives it.

    Raises:
        ValueError: of different lengths, or empty.
    """
    if len(first) != len(second):
        raise ValueError(f"pairs need as many first as second values, got {len(first)} and {len(second)}")
    return estimate([b - a for a, b in zip(first, second, strict=True)])


def pooled(groups: Sequence[Sequence[float]]) -> Estimate:
    """The mean of the groups' means, the groups being fixed: an average effect over just these sources.

    Each group (source) counts the same. The variance between seeds is pooled over the groups, which
    assumes that it is alike in all of them: se = sqrt(s² · sum(1/n_g)) / G with sum(n_g - 1) degrees of
    freedom. `sd` is the pooled s; `n` counts all values. What holds for sources not in the study is
    another question: `estimate` of the groups' means.

    Raises:
        ValueError: no group, an empty one, or a value that is not finite.
    """
    if not groups:
        raise ValueError("pooling needs at least one group")
    each = [estimate(group) for group in groups]
    mean = float(np.mean([e.mean for e in each]))
    n = sum(e.n for e in each)
    df = n - len(each)
    if df == 0:
        return Estimate(mean, None, n)
    variance = sum((e.n - 1) * (e.sd or 0.0) ** 2 for e in each) / df
    error = math.sqrt(variance * sum(1 / e.n for e in each)) / len(each)
    return _with_interval(mean, math.sqrt(variance), n, error, df)


def _with_interval(mean: float, sd: float, n: int, error: float, df: int) -> Estimate:
    # Rounding leaves about 1e-16 of spread between equal values: that is none.
    if error <= 1e-12 * max(1.0, abs(mean)):
        return Estimate(mean, sd, n)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, df)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, df))
    return Estimate(mean, sd, n, mean - half, mean + half, p, df)


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


def power(n: int, sd: float, effect: float, alpha: float = 1 - CONFIDENCE) -> float:
    """Power of the two-sided one-sample (or paired) t test with n values of standard deviation `sd`."""
    df, shift = n - 1, abs(effect) / sd * math.sqrt(n)
    critical = stats.t.ppf(1 - alpha / 2, df)
    return float(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift))


def seeds_needed(sd: float, effect: float, target: float = 0.8, alpha: float = 1 - CONFIDENCE) -> int:
    """Smallest number of seeds with which a paired t test finds `effect` with the target power.

    Args:
        sd: standard deviation of the paired differences between seeds, same unit as `effect`.
        effect: the true mean difference to be found.
        target: the power, the share of studies that would find it.
        alpha: two-sided level of the test.

    Raises:
        ValueError: effect or sd is not positive and finite.
    """
    if not (0 < abs(effect) < math.inf and 0 < sd < math.inf):
        raise ValueError(f"needs a positive spread and an effect other than zero, got {sd} and {effect}")
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(target))
    large = math.ceil((z * sd / effect) ** 2)
    if large > 10_000:  # the normal approximation is exact to less than a seed in ten thousand here
        return large
    low = max(2, large - 1)  # the t test always needs at least as many as the normal one
    while power(low, sd, effect, alpha) < target:
        low += 1
    return low
