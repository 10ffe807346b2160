"""How far apart the means of several groups lie: the range max - min, with an interval that knows it was selected."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import stats

from calibrant.reporting.inference.statistics import CONFIDENCE


@dataclass(frozen=True)
class Range:
    """The range of the means of several groups.

    Attributes:
        value: largest minus smallest mean.
        lowest, highest: the groups with these means.
        groups: number of groups.
        low, high: simultaneous 95 % interval of the true range; None where no group has two values or nothing
            varies within the groups.
        deviation: between values of one group, pooled over the groups; None likewise.
        error: of a group's mean, as the interval has it; None likewise.
        df: degrees of freedom of both.
    """

    value: float
    lowest: str
    highest: str
    groups: int
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    error: float | None = None
    df: int = 0

    @property
    def p(self) -> float | None:
        """Of no true difference between any two groups: below 0.05 where the interval lies above zero.

        It is Tukey's, so that having picked the largest and the smallest mean is allowed for; None without an interval.
        """
        if self.error is None:
            return None
        return float(stats.studentized_range.sf(self.value / self.error, self.groups, self.df))


def value_range(values: Mapping[str, Sequence[float]]) -> Range | None:
    """The range over groups (sources, methods) of their means over seeds; None with fewer than two groups.

    Section 3.2 of the paper defines a method's performance range as max - min over the sources. The largest and the
    smallest of several noisy means lie apart even when all true means are equal, so a t interval of their difference
    would be too narrow. Tukey's simultaneous intervals of all differences, value ± q(k, df) · s / sqrt(n), hold for
    the selected pair and for every other, and with them for the true range. s is pooled over the groups, which
    assumes that it is alike in all of them; n is the smallest number of values, which errs on the wide side, as does
    the independence of groups when their seeds go up and down together.
    """
    groups = {name: np.asarray(group, dtype=np.float64) for name, group in values.items() if len(group)}
    if len(groups) < 2:
        return None
    means = {name: float(group.mean()) for name, group in groups.items()}
    lowest, highest = min(means, key=lambda name: means[name]), max(means, key=lambda name: means[name])
    found = Range(means[highest] - means[lowest], lowest, highest, len(groups))
    df = sum(len(group) - 1 for group in groups.values())
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups.values())
    if df == 0 or math.sqrt(squares / df) <= 1e-12 * max(1.0, *(abs(mean) for mean in means.values())):
        return found
    deviation = math.sqrt(squares / df)
    error = deviation / math.sqrt(min(len(group) for group in groups.values()))
    half = _quantile(len(groups), df) * error
    low, high = max(0.0, found.value - half), found.value + half
    return replace(found, low=low, high=high, deviation=deviation, error=error, df=df)


@lru_cache
def _quantile(groups: int, df: int) -> float:
    """The 95 % quantile of the studentized range."""
    return float(stats.studentized_range.ppf(CONFIDENCE, groups, df))
