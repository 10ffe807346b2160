"""How much worse than the best the leader is expected to be: less than the bound, which must hold for the worst case.

The candidates' true losses are taken to be drawn from one normal distribution, whose spread is what the measured losses
show beyond their errors. An expectation under that, not a promise.

Source: B. Efron and C. Morris, Stein's estimation rule and its competitors: an empirical Bayes approach, 1973.
"""

import numpy as np
from scipy import special

from calibrant.race.evidence import Evidence
from calibrant.race.set_variances import Array

POINTS = 401
REACH = 8.0  # deviations


def expected_regret(evidence: Evidence, leader: int) -> float:
    """The expected excess of the leader's loss over the best candidate's; infinite where no error is known."""
    if evidence.reason:
        return float("inf")
    errors = evidence.variances / evidence.sets + _document_variance(evidence)
    means, deviations = posterior(evidence.means, errors)
    if not deviations.any():
        return 0.0
    grid = np.linspace((means - REACH * deviations).min(), means.min() + REACH * float(deviations.max()), POINTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = special.ndtr((means[:, None] - grid) / deviations[:, None]).prod(axis=0)
    least = float(grid[0] + np.trapezoid(above, grid))
    return max(0.0, float(means[leader]) - least)


def posterior(means: Array, errors: Array) -> tuple[Array, Array]:
    """Shrunken means and their standard deviations [C], from measured means and the variances of their errors [C].

    The spread of the true means is found by moments (DerSimonian and Laird, 1986).
    """
    weights = 1 / errors
    centre = float((weights * means).sum() / weights.sum())
    excess = float((weights * (means - centre) ** 2).sum()) - (len(means) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    spread = max(0.0, excess / scale) if scale > 0 else 0.0
    share = spread / (spread + errors)
    centre = float(((1 / (spread + errors)) * means).sum() / (1 / (spread + errors)).sum())
    return centre + share * (means - centre), np.sqrt(share * errors)


def _document_variance(evidence: Evidence) -> float:
    """Of one candidate's mean, the variance due to documents that it does not share with the others."""
    count = len(evidence.means)
    found = evidence.document_variances()
    return float(found.sum() / (2 * count * (count - 1))) if count > 1 else 0.0
