"""Wanda: |W| times the norm of each input feature, within each output row (Sun et al. 2024; locuslab/wanda)."""

from torch import Tensor

from calibrant.pruning.methods.criteria.criterion import Criterion
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.settings.method_options import MethodSettings


def score(weight: Tensor, statistics: Statistics, settings: MethodSettings) -> Tensor:
    """|W_ij| * sqrt(s_j), float32 [rows, cols], with s the mean over sequences of the features' squared norms."""
    assert statistics.squared_norm is not None
    return weight.abs() * statistics.squared_norm.sqrt()


CRITERION = Criterion(score, needs=frozenset({"norm"}))
