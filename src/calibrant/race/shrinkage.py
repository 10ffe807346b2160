"""How much worse than the best the leader is expected to be: less than the bound, which must hold for the worst case.

The candidates' true losses are taken to be drawn from one normal distribution. An expectation, and no promise.

Source: B. Efron and C. Morris, Stein's estimation rule and its competitors: an empirical Bayes approach, 1973.
"""

import math

import numpy as np
from scipy import special

from calibrant.race.evidence import Evidence
from calibrant.race.set_variances import Array

POINTS = 101
REACH = 6.0  # deviations
SPREADS = 16  # of true losses, over which the expectation is taken


def expected_regret(evidence: Evidence, leader: int) -> float:
    """The expected excess of the leader's loss over the best candidate's; infinite where no error is known.

    How far the true losses are spread is not known well from a few candidates: the expectation is over all spreads,
    each by its restricted likelihood.
    """
    if evidence.reason:
        return math.inf
    drawn = np.maximum(evidence.variances - evidence.noise, 0.0) / evidence.sets
    errors = drawn + _document_variance(evidence)
    if not errors.any():
        return max(0.0, float(evidence.means[leader] - evidence.means.min()))
    errors = np.maximum(errors, 1e-6 * errors.max())
    most = 3 * max(float(np.ptp(evidence.means)), math.sqrt(float(errors.max())))
    spreads = np.linspace(0, most, SPREADS + 1)[1:]
    likelihoods = _likelihoods(evidence.means, errors + spreads[:, None] ** 2)
    weights = np.exp(likelihoods - likelihoods.max())
    shrunk, deviations = posterior(evidence.means, errors, spreads)
    regrets = np.maximum(shrunk[:, leader] - _least(shrunk, deviations), 0.0)
    return float(weights @ regrets / weights.sum())


def posterior(means: Array, errors: Array, spreads: Array) -> tuple[Array, Array]:
    """Shrunken means and their standard deviations [S, C].

    Args:
        means: measured [C].
        errors: the variances of their errors [C].
        spreads: standard deviations of true means [S].
    """
    weights = 1 / (spreads[:, None] ** 2 + errors)
    centre = (weights * means).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    share = spreads[:, None] ** 2 * weights
    return centre + share * (means - centre), np.sqrt(share * errors)


def _likelihoods(means: Array, variances: Array) -> Array:
    """Restricted log-likelihoods [S] of variances [S, C] of measured means [C]."""
    weights = 1 / variances
    total = weights.sum(axis=1)
    centre = (weights * means).sum(axis=1) / total
    squares = (weights * (means - centre[:, None]) ** 2).sum(axis=1)
    found: Array = -0.5 * (np.log(variances).sum(axis=1) + np.log(total) + squares)
    return found


def _least(means: Array, deviations: Array) -> Array:
    """The expected least [S] of independent normal variables [S, C]."""
    low, high = ((means + sign * REACH * deviations).min(axis=1) for sign in (-1, 1))
    grid = low[:, None] + np.linspace(0, 1, POINTS) * (high - low)[:, None]
    above = special.ndtr((means[:, :, None] - grid[:, None, :]) / deviations[:, :, None]).prod(axis=1)
    found: Array = low + np.trapezoid(above, grid, axis=1)
    return found


def _document_variance(evidence: Evidence) -> float:
    """Of one candidate's mean, the variance due to documents that it does not share with the others."""
    count = len(evidence.means)
    found = evidence.document_variances()
    return float(found.sum() / (2 * count * (count - 1))) if count > 1 else 0.0
