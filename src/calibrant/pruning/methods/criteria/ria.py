"""RIA: each weight relative to its row and column, times the input (Zhang et al. 2024, Plug-and-Play)."""

import torch
from torch import Tensor

from calibrant.pruning.methods.criteria.criterion import Criterion
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.settings.method_options import OPTIONS, MethodSettings, number


def score(weight: Tensor, statistics: Statistics, settings: MethodSettings) -> Tensor:
    """(|W_ij| / column sum + |W_ij| / row sum) * sqrt(s_j)^a, float32 [rows, cols].

    The divisions are in the weight's own format, as published. A row or column of zeros adds nothing.
    """
    assert statistics.squared_norm is not None
    magnitude = weight.abs()
    relative = _share(magnitude, magnitude.sum(0, keepdim=True)) + _share(magnitude, magnitude.sum(1, keepdim=True))
    return relative * statistics.squared_norm.sqrt().pow(number(settings, "ria.exponent"))


def _share(magnitude: Tensor, total: Tensor) -> Tensor:
    return magnitude / torch.where(total == 0, 1, total)


CRITERION = Criterion(
    score,
    needs=frozenset({"norm"}),
    group="linear",
    options=OPTIONS["ria"],
)
