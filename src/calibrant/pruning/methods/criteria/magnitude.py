"""Magnitude pruning: |W|, in the model's number format, within each linear layer (Han et al. 2015; locuslab/wanda)."""

from torch import Tensor

from calibrant.pruning.methods.criteria.criterion import Criterion
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.settings.method_options import MethodSettings


def score(weight: Tensor, statistics: Statistics, settings: MethodSettings) -> Tensor:
    """|W| [rows, cols]. It needs no data: `statistics` may be empty."""
    return weight.abs()


CRITERION = Criterion(score, group="linear")
