"""What a criterion is: a score of every weight, or a solver that selects while it updates the weights."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from calibrant.pruning.methods.input_statistics import Kind, Statistics
from calibrant.settings.method_options import MethodSettings, Option
from calibrant.settings.sparsity import Group, Pattern

Score = Callable[[Tensor, Statistics, MethodSettings], Tensor]
Solver = Callable[[Tensor, Statistics, Pattern, MethodSettings], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Criterion:
    """A way to judge weights.

    score: (weight [rows, cols], statistics of its inputs, settings) -> scores [rows, cols]; the lowest go.
    needs: the statistics that it reads; empty when it needs no calibration data.
    group: what competes in unstructured pruning when the user does not say.
    solve: (weight, statistics, pattern, settings) -> (keep-mask, new weights), both [rows, cols]; a criterion
    that has one changes weights, and its `score` serves where a static mask is asked for (refinement).
    """

    score: Score
    needs: frozenset[Kind] = frozenset()
    group: Group = "row"
    options: tuple[Option, ...] = ()
    solve: Solver | None = None
