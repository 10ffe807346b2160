"""Min-K%++ (Zhang et al. 2024a, https://arxiv.org/abs/2404.02936; Equation 3 of the paper).

Text that a model was trained on lies near a local maximum of its distribution: the token that stands there is more
likely than the distribution's average. The score of a text is the mean over its least likely tokens, so that a few
easy words do not decide it.
"""

import torch
from torch import Tensor


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
    logs = torch.log_softmax(logits.float(), dim=-1)
    probabilities = logs.exp()
    own = logs.gather(-1, targets[:, None]).squeeze(-1)
    # log p - mu can be formed before squaring, which loses nothing when sigma is small beside mu. A token with
    # probability zero in float32 counts for nothing, also when its log is -inf.
    logs = logs.clamp_min(torch.finfo(torch.float32).min)
    mean = (probabilities * logs).sum(-1)
    deviation = logs.sub_(mean[:, None]).square_().mul_(probabilities).nan_to_num_(nan=0.0).sum(-1).sqrt()
    return own, (own - mean) / deviation.clamp_min(1e-12)


def min_k_plus_plus(scores: Tensor, k: float) -> float:
    """Mean of the lowest k % of token scores [n], at least one token: floor(n·k/100), as in the published code."""
    count = max(1, int(len(scores) * k / 100))
    return float(scores.double().topk(count, largest=False).values.mean())
