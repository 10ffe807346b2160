"""How often a sample of one text scores higher than one of another: the area under the ROC curve."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from calibrant.reporting.inference.statistics import CONFIDENCE

Array = npt.NDArray[np.float64]


def superiority(higher: Array, lower: Array) -> tuple[float, float | None, float | None] | None:
    """Probability that a value of `higher` exceeds one of `lower` (ties count half), and its 95 % interval.

    This is the area under the ROC curve; the standard error is DeLong's (1988), the interval normal on the logit
    scale, which keeps it within 0 and 1. None below two values; an area of exactly 0 or 1 has no such interval.
    """
    m, n = len(higher), len(lower)
    if m < 2 or n < 2:
        return None
    ranks = stats.rankdata(np.concatenate([higher, lower]))
    over = (ranks[:m] - stats.rankdata(higher)) / n  # for each of `higher`, the share of `lower` below it
    under = 1 - (ranks[m:] - stats.rankdata(lower)) / m
    area = float(over.mean())
    error = math.sqrt(float(over.var(ddof=1)) / m + float(under.var(ddof=1)) / n)
    if not 0 < area < 1 or error == 0:
        return area, None, None
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * error / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return area, 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))


COLUMN = "min_k_plus_plus"


def score_groups(scores: pl.DataFrame, sources: Mapping[str, str]) -> dict[tuple[str, str], Array]:
    """Finite scores by (source, origin), real text first, in the order of `sources`; empty groups are left out."""
    groups: dict[tuple[str, str], Array] = {}
    for origin in ("real", "synthetic"):
        for source in sources:
            chosen = scores.filter((pl.col("source") == source) & (pl.col("origin") == origin))[COLUMN].drop_nulls()
            values: Array = chosen.to_numpy()
            values = values[np.isfinite(values)]
            if len(values):
                groups[source, origin] = values
    return groups
