"""Refinements: how a first mask is improved without touching weights. One file each, one line in the registry."""

from calibrant.pruning.refinement import dsnot
from calibrant.pruning.refinement.base import Refinement

REFINEMENTS: dict[str, Refinement | None] = {
    "none": None,
    "dsnot": dsnot.REFINEMENT,
}
