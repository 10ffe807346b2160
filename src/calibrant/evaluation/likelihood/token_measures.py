"""What two models say of the same tokens: loss, Kullback-Leibler divergence, agreement, for a chunk of positions.

A vocabulary's logits exist for one chunk of positions and two models, never for a text (`logit_chunks`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from calibrant.models.structure.logit_chunks import EVALUATION_CACHE, cache_rows


@dataclass(frozen=True)
class OwnSide:
    """What one model says of n tokens.

    Attributes:
        loss: negative log-likelihood of each, in nats, float32 [n].
        partition: the logarithm of the sum of the exponentials of each position's logits, float32 [n].
        top: the token that is most probable at each position, the first of equals, int64 [n].
    """

    loss: Tensor
    partition: Tensor
    top: Tensor

    def __len__(self) -> int:
        return len(self.loss)

    def rows(self, places: Tensor) -> "OwnSide":
        """Of these tokens only, by their places [m]."""
        return OwnSide(self.loss[places], self.partition[places], self.top[places])

    def rows_on(self, device: torch.device) -> "OwnSide":
        """The same on a device."""
        return OwnSide(self.loss.to(device), self.partition.to(device), self.top.to(device))


def own_side(logits: Tensor, targets: Tensor) -> OwnSide:
    """What logits [n, vocabulary] of any float type say of targets int64 [n], reckoned in float32."""
    rows = cache_rows(logits, EVALUATION_CACHE)
    parts = [
        _own(part, wanted) for part, wanted in zip(torch.split(logits, rows), torch.split(targets, rows), strict=True)
    ]
    return joined(parts)


def _own(logits: Tensor, targets: Tensor) -> OwnSide:
    best, top = logits.max(-1)  # the first of equals, as argmax; argmax itself takes four times as long
    best = best.float()
    rest = torch.sub(logits, best[:, None]).exp_().sum(-1).log()
    own = logits.gather(-1, targets[:, None]).squeeze(-1).float()
    return OwnSide(best - own + rest, best + rest, top)


def divergence(logits: Tensor, own: Tensor, dense_logits: Tensor, dense: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a model from the dense one, sum of p log(p / q) over the vocabulary, in nats [n].

    p are the dense model's probabilities and q the other's, as in Kullback and Leibler (1951). A term whose p is zero
    in float32 is zero.

    Args:
        logits: the model's [n, vocabulary], any float type; reckoned in float32.
        own: the model's `partition` [n].
        dense_logits: the dense model's [n, vocabulary].
        dense: its `partition` [n].
    """
    rows = cache_rows(logits, EVALUATION_CACHE // 2)  # two tables at a time
    parts = zip(*(torch.split(each, rows) for each in (logits, own, dense_logits, dense)), strict=True)
    return torch.cat([_divergence(*part) for part in parts])


def _divergence(logits: Tensor, own: Tensor, dense_logits: Tensor, dense: Tensor) -> Tensor:
    logs = torch.sub(dense_logits.float(), dense[:, None])
    weights = logs.exp()
    # Of log p and log q, not of the logits: those may have any offset, which costs digits.
    logs.sub_(logits).add_(own[:, None])
    found: Tensor = torch.linalg.vecdot(weights, logs)
    return found.clamp_min_(0)


def joined(parts: list[OwnSide]) -> OwnSide:
    """Of tokens one after the other."""
    return OwnSide(*(torch.cat([getattr(part, name) for part in parts]) for name in ("loss", "partition", "top")))
