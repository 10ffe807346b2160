"""Statistics over seeds: t and bootstrap intervals, paired differences, equivalence, Holm's correction, power.

Seeds are the replicates: a value is what one seed gave (or the difference of two values that share a seed).
The error of one evaluation over its items is another matter and never enters these functions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special, stats

CONFIDENCE = 0.95
ALPHA = 0.05
RESAMPLES = 2000  # of a bootstrap: ends of a 95 % interval lie 50 resamples from the edge


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

    @property
    def error(self) -> float | None:
        """Standard error of the mean, where the interval is a t interval."""
        if self.high is None or self.df == 0:
            return None
        return (self.high - self.mean) / quantile(self.df)


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


def quantile(df: int) -> float:
    """How many standard errors a 95 % t interval reaches to either side."""
    return float(special.stdtrit(df, 0.5 + CONFIDENCE / 2))


def tail(t: float, df: int) -> float:
    """One-sided p-value of a t statistic."""
    return float(special.stdtr(df, -t))


def _with_interval(mean: float, sd: float, n: int, error: float, df: int) -> Estimate:
    # Rounding leaves about 1e-16 of spread between equal values: that is none.
    if error <= 1e-12 * max(1.0, abs(mean)):
        return Estimate(mean, sd, n)
    half = quantile(df) * error
    p = 2 * tail(abs(mean) / error, df)
    return Estimate(mean, sd, n, mean - half, mean + half, p, df)


def p_above(found: Estimate, bound: float = 0.0) -> float | None:
    """Twice the one-sided p-value of a true mean at `bound` or below: under 0.05 where the interval lies above it.

    None without an interval. Twice, so that it compares with two-sided p-values. With `p_below` of the same bound, the
    smaller one is the two-sided p.

    Raises:
        ValueError: a bound other than 0 for a bootstrap interval, whose resamples were counted at 0.
    """
    if found.low is None or found.p is None:
        return None
    if found.error is None:
        if bound:
            raise ValueError(f"a bootstrap interval is tested against 0, not {bound}")
        return found.p if found.mean > 0 else 1.0
    return min(1.0, 2 * tail((found.mean - bound) / found.error, found.df))


def p_below(found: Estimate, bound: float = 0.0) -> float | None:
    """As `p_above`, of a true mean at `bound` or above."""
    if found.low is None or found.high is None:
        return None
    return p_above(replace(found, mean=-found.mean, low=-found.high, high=-found.low), -bound)


def equivalence(found: Estimate, margin: float) -> float | None:
    """Two one-sided t tests (TOST): twice the p-value of a true mean that is `margin` or more away from zero.

    Under 0.05 where the 95 % interval lies within ± margin, which is stricter than the usual 90 % interval. None
    without an interval.

    Source: D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach, 1987.
    """
    above, below = p_above(found, -margin), p_below(found, margin)
    return None if above is None or below is None else max(above, below)


def bootstrap(
    groups: Sequence[Sequence[float]], statistic: Callable[..., Any], seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """A statistic of independent groups with its percentile bootstrap interval; the same seed gives the same numbers.

    p is twice the share of resamples on the other side of zero, at least 2 / (resamples + 1). `n` counts all values; df
    is 0: the interval is no t interval. A statistic that no resample changes has no interval.

    Args:
        groups: each is resampled with replacement on its own.
        statistic: of one array a group, with a keyword `axis`, such as `np.median`.
        seed: of the generator that draws the resamples.
        resamples: how many.

    Raises:
        ValueError: no group, one with fewer than two values, or a value that is not finite.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    if not arrays or any(x.size < 2 or not np.isfinite(x).all() for x in arrays):
        raise ValueError(f"a bootstrap needs groups of two finite values or more, got {[x.size for x in arrays]}")
    value, n = float(statistic(*arrays, axis=-1)), sum(x.size for x in arrays)
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))
    found = stats.bootstrap(
        arrays,
        statistic,
        n_resamples=resamples,
        vectorized=True,
        batch=100,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=generator,
    )
    drawn = np.asarray(found.bootstrap_distribution)
    if np.ptp(drawn) <= 1e-12 * max(1.0, abs(value)):
        return Estimate(value, None, n)
    low, high = (float(x) for x in found.confidence_interval)
    other = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Estimate(value, None, n, low, high, min(1.0, 2 * (other + 1) / (resamples + 1)))


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
