"""Perplexity of a token sequence from the log-probabilities of its tokens."""

import math

from torch import Tensor


def perplexity(log_probabilities: Tensor) -> float:
    """exp of the mean negative log-likelihood of tokens [n] (n at least 1), in float64; infinite when it overflows."""
    loss = -float(log_probabilities.double().mean())
    return math.exp(loss) if loss < 709 else math.inf
