"""Refinements: how a first mask is improved without touching weights. One file each, one line in the registry."""

from calibrant.pruning.methods.refinements import dsnot
from calibrant.pruning.methods.refinements.refinement import Refinement

REFINEMENTS: dict[str, Refinement | None] = {
    "none": None,
    "dsnot": dsnot.REFINEMENT,
}
