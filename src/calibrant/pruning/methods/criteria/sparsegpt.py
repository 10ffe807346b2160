"""SparseGPT: select and update the weights column by column (Frantar & Alistarh 2023; IST-DASLab/sparsegpt)."""

import warnings

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.pruning.methods.criteria.criterion import Criterion
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.selection import keep_n_of_m, prune_below_threshold
from calibrant.settings.method_options import OPTIONS, MethodSettings, number
from calibrant.settings.sparsity import NM, Pattern, Unstructured

MORE_DAMPING = (1, 10, 100)  # times the asked damping, tried in turn
SMALL = 64  # rows of a triangular matrix that is inverted directly


def score(weight: Tensor, statistics: Statistics, settings: MethodSettings) -> Tensor:
    """W² / diag(H^-1's upper Cholesky factor)², float32 [rows, cols]: the static score, without any update."""
    factor, dead = inverse_factor(statistics, settings, as_published=weight.dtype == torch.float32)
    return _saliency(weight.to(torch.float32).masked_fill(dead, 0), factor.diag())


def solve(weight: Tensor, statistics: Statistics, pattern: Pattern, settings: MethodSettings) -> tuple[Tensor, Tensor]:
    """Keep-mask and updated weights, both [rows, cols]; the weights are float32 and zero where pruned.

    Columns are handled in blocks. Within a block the error of each column's zeros is at once spread over
    the columns after it (the inner loop); the columns after the block get it when the block is done.
    Unstructured pruning takes each block's lowest scores (all rows compete, the published `<=` rule); N:M
    takes the lowest of every M columns when they are reached, on the weights as they are by then.
    float32 weights are computed in the published order, to the last bit; others with fused products and sums.

    Raises:
        InputError: the block size is no multiple of M, or the Hessian cannot be factored.
    """
    block = int(number(settings, "sparsegpt.block_size"))
    if isinstance(pattern, NM) and block % pattern.m:
        raise InputError(f"option sparsegpt.block_size={block}: must be a multiple of M in {pattern}")
    as_published = weight.dtype == torch.float32
    factor, dead = inverse_factor(statistics, settings, as_published)
    # a column at a time is wanted from here on: transposed, each lies together
    W = weight.to(torch.float32).masked_fill(dead, 0).T.contiguous()
    keep = torch.ones_like(W, dtype=torch.bool)
    for start in range(0, len(W), block):
        end = min(start + block, len(W))
        W1, keep1, U1 = W[start:end], keep[start:end], factor[start:end, start:end]
        d = U1.diag()[:, None]
        errors, step = torch.empty_like(W1), torch.empty_like(W1)
        if isinstance(pattern, Unstructured):
            keep1[:] = prune_below_threshold(_saliency(W1, d), pattern)
        divisors = torch.where(keep1, torch.inf, d)  # the error is w / d where w is pruned, nothing where it is kept
        for i, (w, divisor, error) in enumerate(zip(W1, divisors, errors, strict=True)):
            if isinstance(pattern, NM) and i % pattern.m == 0:
                group = slice(i, i + pattern.m)
                keep1[group] = keep_n_of_m(_saliency(W1[group], d[group]).T, pattern.n).T
                divisors[group] = torch.where(keep1[group], torch.inf, d[group])
            torch.div(w, divisor, out=error)
            if as_published:
                W1[i + 1 :] -= torch.mul(U1[i, i + 1 :, None], error, out=step[i + 1 :])
            else:
                W1[i + 1 :].addcmul_(U1[i, i + 1 :, None], error, value=-1)
        W1 *= keep1
        if as_published:
            W[end:] -= (errors.T.contiguous() @ factor[start:end, end:]).T
        else:
            W[end:].addmm_(factor[start:end, end:].T, errors, alpha=-1)
    return keep.T.contiguous(), W.T.contiguous()


def _saliency(W: Tensor, d: Tensor) -> Tensor:
    return W**2 / d**2


def inverse_factor(statistics: Statistics, settings: MethodSettings, as_published: bool) -> tuple[Tensor, Tensor]:
    """Upper Cholesky factor of the damped Hessian's inverse [cols, cols], and the dead columns, bool [cols].

    Kept with the statistics: query, key and value have one Hessian, and its factor is computed once.

    Dead inputs (always zero) get a unit Hessian entry; their weights are to be zeroed. Damping adds a share
    of the mean diagonal. When the factorisation fails it is tried again with more, and a warning says so.

    Raises:
        InputError: it fails with the most damping too.
    """
    damping = number(settings, "sparsegpt.damping")
    if damping not in statistics.factors:
        statistics.factors[damping] = _inverse_factor(statistics, damping, as_published)
    return statistics.factors[damping]


def _inverse_factor(statistics: Statistics, damping: float, as_published: bool) -> tuple[Tensor, Tensor]:
    assert statistics.hessian is not None
    H = statistics.hessian.clone()
    dead = H.diag() == 0
    H.diagonal()[dead] = 1
    mean = H.diag().mean()
    diagonal = H.diag().clone()
    for times in MORE_DAMPING:
        H.diagonal().copy_(diagonal + damping * times * mean)
        factor, failed = _factor_twice(H) if as_published else _factor_once(H)
        if not failed and bool(factor.isfinite().all()):
            if times > 1:
                warnings.warn(f"SparseGPT: the Hessian needed damping {damping * times:g}", stacklevel=2)
            return factor, dead
    raise InputError(
        f"SparseGPT's Hessian cannot be factored even with damping {damping * MORE_DAMPING[-1]:g}; "
        "give more or longer calibration sequences, or a larger sparsegpt.damping"
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


CRITERION = Criterion(
    score,
    needs=frozenset({"hessian"}),
    options=OPTIONS["sparsegpt"],
    solve=solve,
)
