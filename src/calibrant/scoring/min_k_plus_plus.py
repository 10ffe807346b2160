"""Min-K%++ (Zhang et al. 2024a, https://arxiv.org/abs/2404.02936; Equation 3 of the paper).

Text that a model was trained on lies near a local maximum of its distribution: the token that stands there is more
likely than the distribution's average. The score of a text is the mean over its least likely tokens, so that a few
easy words do not decide it.
"""

import torch
from torch import Tensor

from calibrant.models.structure.logit_chunks import SCORING_CACHE, cache_rows

_SMALLEST = -1e4  # stands for log 0 beside a probability of exactly 0


def token_statistics(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and its distance from the expected one in standard deviations.

    log p(x) and (log p(x) - mu) / sigma, where mu and sigma are the mean and the standard deviation of log p over the
    model's own distribution at that position.

    Args:
        logits: [tokens, vocabulary], any float type; computed in float32.
        targets: int64 [tokens].

    Returns:
        Two float32 tensors [tokens].
    """
    rows = cache_rows(logits, SCORING_CACHE)
    pairs = zip(torch.split(logits, rows), torch.split(targets, rows), strict=True)
    parts = [_statistics(*pair) for pair in pairs]
    return torch.cat([own for own, _ in parts]), torch.cat([distance for _, distance in parts])


def _statistics(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    # Relative to the best token: both moments are then small where the model is sure, and their difference is exact.
    logs = logits.float() - logits.amax(-1, keepdim=True).float()
    own = logs.gather(-1, targets[:, None]).squeeze(-1)
    weights = logs.exp()
    total = weights.sum(-1)
    logs = logs.clamp_min_(_SMALLEST)
    mean = torch.linalg.vecdot(weights, logs) / total
    square = torch.linalg.vecdot(weights.mul_(logs), logs) / total
    deviation = (square - mean.square()).clamp_min(0).sqrt()
    return own - total.log(), (own - mean) / deviation.clamp_min(1e-12)


def min_k_plus_plus(scores: Tensor, k: float) -> float:
    """Mean of the lowest k % of token scores [n], at least one token: floor(n·k/100), as in the published code."""
    count = max(1, int(len(scores) * k / 100))
    return float(scores.double().topk(count, largest=False).values.mean())
