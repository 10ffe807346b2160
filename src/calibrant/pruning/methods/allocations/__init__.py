"""Allocations: how the sparsity is shared out between decoder layers. One file each, one line in the registry."""

from calibrant.pruning.methods.allocations import owl, uniform
from calibrant.pruning.methods.allocations.allocation import Allocation

ALLOCATIONS: dict[str, Allocation] = {
    "uniform": uniform.ALLOCATION,
    "owl": owl.ALLOCATION,
}
