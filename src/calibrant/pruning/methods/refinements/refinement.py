"""What a refinement is: a function from a first mask to a better one with the same number of weights in each row."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from calibrant.pruning.methods.input_statistics import Kind, Statistics
from calibrant.settings.method_options import MethodSettings, Option
from calibrant.settings.sparsity import Pattern

Refine = Callable[[Tensor, Tensor, Tensor, Statistics, Pattern, MethodSettings], Tensor]


@dataclass(frozen=True)
class Refinement:
    """A way to improve masks.

    refine: (weight, score, keep-mask, statistics, pattern, settings) -> keep-mask, all [rows, cols].
    applies: (a linear's name, settings) -> whether it is refined.
    """

    refine: Refine
    applies: Callable[[str, MethodSettings], bool]
    needs: frozenset[Kind]
    options: tuple[Option, ...]
