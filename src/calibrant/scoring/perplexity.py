"""Perplexity of a token sequence from the log-probabilities of its tokens, and where it stops being a number."""

import math

from torch import Tensor

LARGEST_LOSS = 700.0  # nats a token: exp of more is hardly a float, and sums or errors of such are none


def perplexity_of_loss(loss: float) -> float:
    """exp of a mean negative log-likelihood in nats a token; infinite where that is no usable number (NaN too)."""
    return math.exp(loss) if loss < LARGEST_LOSS else math.inf


def perplexity(log_probabilities: Tensor) -> float:
    """exp of the mean negative log-likelihood of tokens [n] (n at least 1), in float64; infinite when it overflows."""
    return perplexity_of_loss(-float(log_probabilities.double().mean()))
