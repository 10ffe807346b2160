"""The factor of a Hessian's inverse, by which SparseGPT and GPTQ spread what a column loses over those after it."""

import warnings

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.pruning.methods.input_statistics import Statistics

MORE_DAMPING = (1, 10, 100)  # times the asked damping, tried in turn
SMALL = 64  # rows of a triangular matrix that is inverted directly


def inverse_factor(
    statistics: Statistics, damping: float, as_published: bool, order: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Upper Cholesky factor of the damped Hessian's inverse [cols, cols], and the dead columns, bool [cols].

    Kept with the statistics: query, key and value have one Hessian, and its factor is computed once. With an `order` of
    the columns, int64 [cols], both are in that order; one order is kept for a damping.

    Dead inputs (always zero) get a unit Hessian entry; their weights are to be zeroed. Damping adds a share
    of the mean diagonal. When the factorisation fails it is tried again with more, and a warning says so.

    Raises:
        InputError: it fails with the most damping too.
    """
    key = (damping, order is not None)
    if key not in statistics.factors:
        statistics.factors[key] = _inverse_factor(statistics, damping, as_published, order)
    return statistics.factors[key]


def _inverse_factor(
    statistics: Statistics, damping: float, as_published: bool, order: Tensor | None
) -> tuple[Tensor, Tensor]:
    assert statistics.hessian is not None
    H = statistics.hessian.clone() if order is None else statistics.hessian[order][:, order]
    dead = H.diag() == 0
    H.diagonal()[dead] = 1
    mean = H.diag().mean()
    diagonal = H.diag().clone()
    for times in MORE_DAMPING:
        H.diagonal().copy_(diagonal + damping * times * mean)
        factor, failed = _factor_twice(H) if as_published else _factor_once(H)
        if not failed and bool(factor.isfinite().all()):
            if times > 1:
                warnings.warn(f"the Hessian needed damping {damping * times:g}", stacklevel=2)
            return factor, dead
    raise InputError(
        f"the Hessian of its inputs cannot be factored even with damping {damping * MORE_DAMPING[-1]:g}; "
        "give more or longer calibration sequences, or a larger damping (sparsegpt.damping, gptq.damping)"
    )


def _factor_twice(H: Tensor) -> tuple[Tensor, Tensor]:
    """Upper factor R of H^-1 = R^T R by the published sequence, and whether it failed.

    Any other way to invert rounds differently, and a near-tie that falls the other way changes all that follows it
    (docs/pruning.md).
    """
    factor, failed = torch.linalg.cholesky_ex(H)
    return (factor, failed) if failed else torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)


def _factor_once(H: Tensor) -> tuple[Tensor, Tensor]:
    """The same factor at half the cost: H = V V^T with V upper (from the last row up), so R = V^-1."""
    lower, failed = torch.linalg.cholesky_ex(H.flip(0, 1))
    return _inverse_of_upper(lower.flip(0, 1)), failed


def _inverse_of_upper(V: Tensor) -> Tensor:
    """Inverse of an upper triangular matrix by halves: matrix products, which are what processors do fastest."""
    size = len(V)
    if size <= SMALL:
        direct: Tensor = torch.linalg.solve_triangular(V, torch.eye(size, dtype=V.dtype, device=V.device), upper=True)
        return direct
    half = size // 2
    inverse = torch.zeros_like(V, memory_format=torch.contiguous_format)
    first, last = _inverse_of_upper(V[:half, :half]), _inverse_of_upper(V[half:, half:])
    inverse[:half, :half], inverse[half:, half:] = first, last
    inverse[:half, half:] = -(first @ V[:half, half:] @ last)
    return inverse
