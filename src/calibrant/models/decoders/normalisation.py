"""Norms of hidden states, rounded where transformers' modules round (`families.family.Norm`)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from calibrant.models.families.family import Norm

Normalise = Callable[[Tensor], Tensor]  # [..., width] -> [..., width]


def norm_of(module: Any, kind: Norm, eps: float) -> Normalise | None:
    """The norm that a module holds; None for no module, and for one that does nothing. Its weights may change later."""
    if module is None or isinstance(module, nn.Identity):
        return None
    if kind.kind == "layer":
        shape = module.weight.shape
        return lambda x: F.layer_norm(x, shape, module.weight, module.bias, eps)
    return lambda x: rms(x, module.weight, kind, eps)


def rms(x: Tensor, weight: Tensor, kind: Norm, eps: float) -> Tensor:
    """x over the root of its mean square [..., width], times a gain that broadcasts; Zhang and Sennrich (2019).

    The mean square is float32's, in float64 models too: so it is in transformers.
    """
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    gain = weight.float() + 1 if kind.gain == "one more" else weight
    if kind.rounds == "before gain":
        return gain * wide.to(x.dtype)
    return (gain * wide).to(x.dtype)
