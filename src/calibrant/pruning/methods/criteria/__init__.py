"""Criteria: how important each weight of a linear layer is. One file each, one line in the registry."""

from calibrant.pruning.methods.criteria import magnitude, ria, sparsegpt, wanda
from calibrant.pruning.methods.criteria.criterion import Criterion

CRITERIA: dict[str, Criterion] = {
    "magnitude": magnitude.CRITERION,
    "wanda": wanda.CRITERION,
    "ria": ria.CRITERION,
    "sparsegpt": sparsegpt.CRITERION,
}
