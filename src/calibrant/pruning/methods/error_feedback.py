"""Settle the columns of a weight one after the other; what each loses is made up for by those after it (OBS)."""

from typing import Protocol

import torch
from torch import Tensor

AT_ONCE = 16  # columns whose errors reach the rest of their block in one product


class ColumnChoice(Protocol):
    """What becomes of each column: pruned, quantized, or both."""

    def begin_block(self, start: int, block: Tensor, diagonal: Tensor) -> None:
        """A block of columns begins.

        Args:
            start: its first column.
            block: its weights as the blocks before it left them, [columns, rows]; they change while it is settled.
            diagonal: of the factor, [columns, 1].
        """

    def settle(self, place: int, column: Tensor, error: Tensor) -> None:
        """Write what a column [rows] loses, divided by the factor's diagonal, to `error` [rows].

        The column itself may be set to what it becomes here, or with its block in `end_block`.
        """

    def end_block(self, block: Tensor) -> None:
        """All columns of the block were settled; set it to what it becomes."""


def settle_columns(
    W: Tensor, factor: Tensor, block: int, choice: ColumnChoice, *, as_published: bool, together: int = 1
) -> None:
    """Settle a transposed weight [cols, rows], float32, in place.

    Columns are handled in blocks. Within a block the error of each column is at once spread over the columns after it
    (the inner loop); the columns after the block get it when the block is done. Not as published, the inner loop does
    the same by products: a column's error reaches the next ones at once and the rest of the block with those of its
    neighbours, which is the same sum, rounded otherwise.

    Args:
        W: the weight, transposed: each column lies together.
        factor: upper Cholesky factor of the Hessian's inverse (`hessian_factor`), [cols, cols].
        block: columns handled together.
        choice: what becomes of each column.
        as_published: compute in the published order, to the last bit.
        together: columns at whose first the choice looks at all of them, as N:M does at M.
    """
    for start in range(0, len(W), block):
        end = min(start + block, len(W))
        W1, U1 = W[start:end], factor[start:end, start:end]
        errors = torch.empty_like(W1)
        choice.begin_block(start, W1, U1.diag()[:, None])
        if as_published:
            _one_by_one(W1, U1, errors, choice)
        else:
            _some_at_once(W1, U1, errors, choice, together)
        choice.end_block(W1)
        if as_published:
            W[end:] -= (errors.T.contiguous() @ factor[start:end, end:]).T
        else:
            W[end:].addmm_(factor[start:end, end:].T, errors, alpha=-1)


def _one_by_one(W1: Tensor, U1: Tensor, errors: Tensor, choice: ColumnChoice) -> None:
    step = torch.empty_like(W1)
    for i, (column, error) in enumerate(zip(W1, errors, strict=True)):
        choice.settle(i, column, error)
        W1[i + 1 :] -= torch.mul(U1[i, i + 1 :, None], error, out=step[i + 1 :])


def _some_at_once(W1: Tensor, U1: Tensor, errors: Tensor, choice: ColumnChoice, together: int) -> None:
    at_once = -(-AT_ONCE // together) * together
    for first in range(0, len(W1), at_once):
        last = min(first + at_once, len(W1))
        for i in range(first, last):
            choice.settle(i, W1[i], errors[i])
            W1[i + 1 : last].addcmul_(U1[i, i + 1 : last, None], errors[i], value=-1)
        W1[last:].addmm_(U1[first:last, last:].T, errors[first:last], alpha=-1)
