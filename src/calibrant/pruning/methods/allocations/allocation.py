"""What an allocation is: from an observation of every dense decoder layer to a pattern for each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from calibrant.pruning.methods.input_statistics import Kind, Statistics
from calibrant.settings.method_options import MethodSettings, Option
from calibrant.settings.sparsity import Pattern

Observe = Callable[[Mapping[str, tuple[Tensor, Statistics]], MethodSettings], float]
Allocate = Callable[[Pattern, Sequence[float], Sequence[int], MethodSettings], list[Pattern]]


@dataclass(frozen=True)
class Allocation:
    """A way to share out the sparsity.

    allocate: (requested pattern, observations, weights in each decoder layer, settings) -> one pattern a layer.
    observe: ({linear: (weight, statistics of the dense model)}, settings) -> one number a layer; None when the
    allocation looks at nothing, and then `observations` is empty.
    options: the settings it has for a pattern.
    """

    allocate: Allocate
    observe: Observe | None = None
    needs: frozenset[Kind] = frozenset()
    options: Callable[[Pattern], tuple[Option, ...]] = lambda pattern: ()
