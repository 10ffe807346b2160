"""How often a sample of one text scores higher than one of another: the area under the ROC curve."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import optimize, stats

from calibrant.reporting.inference.statistics import CONFIDENCE, Estimate
from calibrant.reporting.results.samples import text_scores

Array = npt.NDArray[np.float64]


Z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
COLUMN = "min_k_plus_plus"


def superiority(higher: Array, lower: Array) -> Estimate | None:
    """By how much a value of `higher` exceeds one of `lower` in more than half of all pairs, in points of 100 pairs.

    The area under the ROC curve in per cent (ties count half), less 50; zero means no difference. The interval is
    DeLong's (1988), normal on the logit scale, which keeps it within -50 and 50; where the scores do not overlap at all
    it is Newcombe's (2006, method 5). None below two values.
    """
    m, n = len(higher), len(lower)
    if m < 2 or n < 2:
        return None
    ranks = stats.rankdata(np.concatenate([higher, lower]))
    over = (ranks[:m] - stats.rankdata(higher)) / n  # for each of `higher`, the share of `lower` below it
    under = 1 - (ranks[m:] - stats.rankdata(lower)) / m
    area = float(over.mean())
    error = math.sqrt(float(over.var(ddof=1)) / m + float(under.var(ddof=1)) / n)
    if 0 < area < 1 and error > 0:
        slope, logit = area * (1 - area), math.log(area / (1 - area))
        half, z = Z * error / slope, abs(logit) * slope / error
        low, high = 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
    elif np.ptp(np.concatenate([higher, lower])) == 0:
        return Estimate(100 * (area - 0.5), None, m + n)
    else:
        low, high = _apart(area, m, n)
        z = abs(area - 0.5) / math.sqrt(_variance(0.5, m, n))
    p = 2 * float(stats.norm.sf(z))
    return Estimate(100 * (area - 0.5), None, m + n, 100 * (low - 0.5), 100 * (high - 0.5), p)


def _variance(area: float, m: int, n: int) -> float:
    """Variance of the area that Newcombe takes: of negative exponential scores, with the two sizes averaged."""
    size = (m + n) / 2 - 1
    return area * (1 - area) * (1 + size * (1 - area) / (2 - area) + size * area / (1 + area)) / (m * n)


def _apart(area: float, m: int, n: int) -> tuple[float, float]:
    """The interval of scores that do not overlap: one end is the area itself."""
    top = max(area, 1 - area)
    end = float(optimize.brentq(lambda x: top - x - Z * math.sqrt(_variance(x, m, n)), 1e-9, top - 1e-12))
    return (end, 1.0) if area > 0.5 else (0.0, 1 - end)


def score_groups(scores: pl.DataFrame, sources: Mapping[str, str]) -> dict[tuple[str, str], Array]:
    """Finite scores by (source, origin), real text first, in the order of `sources`; empty groups are left out.

    A row that was drawn into several sets counts once.
    """
    found = {(s, o): text_scores(scores, s, o, COLUMN) for o in ("real", "synthetic") for s in sources}
    return {key: values for key, values in found.items() if len(values)}
