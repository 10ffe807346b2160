"""What a criterion is: a score of every weight, or a solver that selects while it updates the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from calibrant.pruning.methods.input_statistics import Kind, Statistics
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.method_options import MethodSettings, Option
from calibrant.settings.sparsity import Group, Pattern
from calibrant.settings.target import Width


class Solved(NamedTuple):
    """What a solver makes of a weight: a keep-mask and new weights [rows, cols], and codes if there is a width."""

    mask: Tensor
    weight: Tensor
    quantized: QuantizedWeight | None = None


Score = Callable[[Tensor, Statistics, MethodSettings], Tensor]
Solver = Callable[[Tensor, Statistics, Pattern, Width | None, MethodSettings], Solved]


@dataclass(frozen=True)
class Criterion:
    """A way to judge weights.

    score: (weight [rows, cols], statistics of its inputs, settings) -> scores [rows, cols]; the lowest go.
    needs: the statistics that it reads; empty when it needs no calibration data.
    group: what competes in unstructured pruning when the user does not say.
    solve: (weight, statistics, pattern, width or None, settings) -> keep-mask, new weights and codes; a criterion
    that has one changes weights, and its `score` serves where a static mask is asked for (refinement).
    """

    score: Score
    needs: frozenset[Kind] = frozenset()
    group: Group = "row"
    options: tuple[Option, ...] = ()
    solve: Solver | None = None
