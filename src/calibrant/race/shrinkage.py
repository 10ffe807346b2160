"""How much worse than the best the leader is expected to be: less than the bound, which must hold for the worst case.

The candidates' true losses are taken to be drawn from one normal distribution. An expectation, and no promise.

Source: B. Efron and C. Morris, Stein's estimation rule and its competitors: an empirical Bayes approach, 1973.
"""

import math

import numpy as np
from scipy import special

from calibrant.race.evidence import Evidence
from calibrant.race.set_variances import Array

POINTS = 201
REACH = 6.0  # deviations
SPREADS = 25  # of true losses, over which the expectation is taken


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
    spreads = np.linspace(0, most, SPREADS)[1:]
    likelihoods = np.array([_likelihood(evidence.means, errors + spread**2) for spread in spreads])
    weights = np.exp(likelihoods - likelihoods.max())
    found = [_regret(evidence.means, errors, spread, leader) for spread in spreads]
    return float(weights @ np.array(found) / weights.sum())


def posterior(means: Array, errors: Array, spread: float) -> tuple[Array, Array]:
    """Shrunken means and their standard deviations [C].

    Args:
        means: measured [C].
        errors: the variances of their errors [C].
        spread: the standard deviation of true means.
    """
    weights = 1 / (spread**2 + errors)
    centre = float((weights * means).sum() / weights.sum())
    share = spread**2 * weights
    return centre + share * (means - centre), np.sqrt(share * errors)


def _likelihood(means: Array, variances: Array) -> float:
    weights = 1 / variances
    centre = float((weights * means).sum() / weights.sum())
    squares = float((weights * (means - centre) ** 2).sum())
    return -0.5 * (float(np.log(variances).sum()) + math.log(float(weights.sum())) + squares)


def _regret(means: Array, errors: Array, spread: float, leader: int) -> float:
    shrunk, deviations = posterior(means, errors, spread)
    grid = np.linspace((shrunk - REACH * deviations).min(), (shrunk + REACH * deviations).min(), POINTS)
    above = special.ndtr((shrunk[:, None] - grid) / deviations[:, None]).prod(axis=0)
    least = float(grid[0] + np.trapezoid(above, grid))
    return max(0.0, float(shrunk[leader]) - least)


def _document_variance(evidence: Evidence) -> float:
    """Of one candidate's mean, the variance due to documents that it does not share with the others."""
    count = len(evidence.means)
    found = evidence.document_variances()
    return float(found.sum() / (2 * count * (count - 1))) if count > 1 else 0.0
