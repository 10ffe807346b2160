"""Magnitude pruning: |W|, in the model's number format, within each linear layer (Han et al. 2015; locuslab/wanda)."""

from torch import Tensor

from calibrant.pruning.methods.criteria.criterion import Criterion, Settings
from calibrant.pruning.methods.input_statistics import Statistics


def score(weight: Tensor, statistics: Statistics, settings: Settings) -> Tensor:
    """|W| [rows, cols]. It needs no data: `statistics` may be empty."""
    return weight.abs()


CRITERION = Criterion(score, group="layer")
