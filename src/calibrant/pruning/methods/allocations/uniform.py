"""The same pattern for every decoder layer."""

from collections.abc import Sequence

from calibrant.pruning.methods.allocations.allocation import Allocation
from calibrant.settings.method_options import MethodSettings
from calibrant.settings.sparsity import Pattern


def allocate(
    pattern: Pattern, observations: Sequence[float], sizes: Sequence[int], settings: MethodSettings
) -> list[Pattern]:
    """The requested pattern, once for each layer."""
    return [pattern] * len(sizes)


ALLOCATION = Allocation(allocate)
