"""SparseGPT: select and update the weights column by column (Frantar & Alistarh 2023; IST-DASLab/sparsegpt)."""

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.pruning.methods.criteria.criterion import Criterion, Solved
from calibrant.pruning.methods.error_feedback import settle_columns
from calibrant.pruning.methods.hessian_factor import inverse_factor
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.quantizers.quantized_columns import QuantizedColumns
from calibrant.pruning.methods.selection import keep_n_of_m, prune_below_threshold
from calibrant.settings.method_options import OPTIONS, MethodSettings, number
from calibrant.settings.sparsity import NM, Pattern, Unstructured
from calibrant.settings.target import Width


def score(weight: Tensor, statistics: Statistics, settings: MethodSettings) -> Tensor:
    """W² / diag(H^-1's upper Cholesky factor)², float32 [rows, cols]: the static score, without any update."""
    as_published = weight.dtype == torch.float32
    factor, dead = inverse_factor(statistics, number(settings, "sparsegpt.damping"), as_published)
    return _saliency(weight.to(torch.float32).masked_fill(dead, 0), factor.diag())


def solve(
    weight: Tensor, statistics: Statistics, pattern: Pattern, width: Width | None, settings: MethodSettings
) -> Solved:
    """Keep-mask and updated weights, both [rows, cols]; the weights are float32 and zero where pruned.

    Unstructured pruning takes each block's lowest scores (all rows compete, the published `<=` rule); N:M takes the
    lowest of every M columns when they are reached, on the weights as they are by then. With a width what is kept of a
    column is rounded when it is settled (the published joint mode), and the error is of both.
    float32 weights are computed in the published order, to the last bit; others with fused products and sums.

    Raises:
        InputError: the block size is no multiple of M, or the Hessian cannot be factored.
    """
    block = int(number(settings, "sparsegpt.block_size"))
    if isinstance(pattern, NM) and block % pattern.m:
        raise InputError(f"option sparsegpt.block_size={block}: must be a multiple of M in {pattern}")
    as_published = weight.dtype == torch.float32
    factor, dead = inverse_factor(statistics, number(settings, "sparsegpt.damping"), as_published)
    # a column at a time is wanted from here on: transposed, each lies together
    given = weight.to(torch.float32)
    W = given.masked_fill(dead, 0).T.contiguous()
    columns = None
    if width is not None:
        symmetric = bool(settings["symmetric"])
        columns = QuantizedColumns(W, given, width, symmetric=symmetric, static_groups=False, order=None)
    choice = PrunedColumns(W, pattern, columns)
    together = pattern.m if isinstance(pattern, NM) else 1
    settle_columns(W, factor, block, choice, as_published=as_published, together=together)
    return Solved(choice.keep.T.contiguous(), W.T.contiguous(), columns.quantized() if columns else None)


class PrunedColumns:
    """A `ColumnChoice` that prunes, and hands what is kept on to another that rounds it, if there is one.

    keep: what is kept of the columns settled so far, bool [cols, rows].
    """

    def __init__(self, W: Tensor, pattern: Pattern, rounded: QuantizedColumns | None = None) -> None:
        """Prepare for a transposed weight [cols, rows]."""
        self.keep = torch.ones_like(W, dtype=torch.bool)
        self._pattern, self._rounded = pattern, rounded

    def begin_block(self, start: int, block: Tensor, diagonal: Tensor) -> None:
        """Choose what an unstructured pattern prunes of the block."""
        self._block, self._diagonal = block, diagonal
        self._keep = self.keep[start : start + len(block)]
        if isinstance(self._pattern, Unstructured):
            self._keep[:] = prune_below_threshold(_saliency(block, diagonal), self._pattern)
        # the error is w / d where w is pruned, nothing where it is kept
        self._divisors = torch.where(self._keep, torch.inf, diagonal)
        if self._rounded is not None:
            self._rounded.begin_block(start, block, diagonal)

    def settle(self, place: int, column: Tensor, error: Tensor) -> None:
        """Choose what N:M prunes of the M columns that begin here; then what the column loses."""
        if isinstance(self._pattern, NM) and place % self._pattern.m == 0:
            group = slice(place, place + self._pattern.m)
            saliency = _saliency(self._block[group], self._diagonal[group])
            self._keep[group] = keep_n_of_m(saliency.T, self._pattern.n).T
            self._divisors[group] = torch.where(self._keep[group], torch.inf, self._diagonal[group])
        if self._rounded is None:
            torch.div(column, self._divisors[place], out=error)
        else:
            self._rounded.settle_value(place, column, column * self._keep[place], error)

    def end_block(self, block: Tensor) -> None:
        """Zero what is pruned."""
        block *= self._keep


def _saliency(W: Tensor, d: Tensor) -> Tensor:
    return W**2 / d**2


CRITERION = Criterion(
    score,
    needs=frozenset({"hessian"}),
    options=OPTIONS["sparsegpt"],
    solve=solve,
)
