"""Columns that are rounded to levels when their turn comes: the published GPTQ's choice within the error feedback."""

import torch
from torch import Tensor

from calibrant.pruning.methods.quantizers.levels import in_groups, levels_of_range
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.target import Width


class QuantizedColumns:
    """A `ColumnChoice`; it keeps the codes of the columns that it settled.

    A row's range is taken from the weight as it was given. A group's range is taken when its first column is reached,
    from the weights as *earlier blocks* left them, or with `static_groups` from the weight as it was given.
    """

    def __init__(
        self, W: Tensor, given: Tensor, width: Width, *, symmetric: bool, static_groups: bool, order: Tensor | None
    ) -> None:
        """Prepare for a weight.

        Args:
            W: the weight in the order of its settling, transposed [cols, rows]; settled in place by the caller.
            given: the weight in its own order [rows, cols], from which rows and static groups take their ranges.
            width: bits and columns of a group.
            symmetric: whether the zero is in the middle of the codes.
            static_groups: whether all ranges are taken beforehand, of columns that lie together in the weight.
            order: the column of the weight that each settled one is, int64 [cols]; None for their own order.
        """
        cols, rows = W.shape
        self._W, self._bits, self._symmetric = W, width.bits, symmetric
        self._group = width.group or cols
        self._most = 2**width.bits - 1
        self._beforehand = width.group is None or static_groups
        self._order = order
        groups = cols // self._group
        self._scales = torch.empty(groups, rows, dtype=torch.float32, device=W.device)
        self._zeros = torch.empty_like(self._scales)
        self._codes = torch.empty_like(W)
        self._start = 0
        own = torch.arange(cols, device=W.device) if order is None or not static_groups else order
        self._group_of = (own // self._group).tolist()
        if self._beforehand:
            scales, zeros = levels_of_range(in_groups(given, width), width.bits, symmetric)
            self._scales.copy_(scales.T)
            self._zeros.copy_(zeros.T)

    def begin_block(self, start: int, block: Tensor, diagonal: Tensor) -> None:
        """Take the ranges of the groups that begin in this block."""
        self._start, self._block = start, block
        self._diagonals = diagonal.flatten().tolist()
        if self._beforehand:
            return
        first, end = -(-start // self._group), -(-(start + len(block)) // self._group)
        if first < end:
            weights = self._W[first * self._group : end * self._group].reshape(end - first, self._group, -1)
            scales, zeros = levels_of_range(weights.transpose(1, 2), self._bits, self._symmetric)
            self._scales[first:end], self._zeros[first:end] = scales, zeros

    def settle(self, place: int, column: Tensor, error: Tensor) -> None:
        """Round the column to its group's levels; `error` is what that takes off it."""
        self.settle_value(place, column, column, error)

    def settle_value(self, place: int, column: Tensor, value: Tensor, error: Tensor) -> None:
        """As `settle`, rounding `value` in place of the column: what pruning leaves of it."""
        index = self._start + place
        group = self._group_of[index]
        scale, zero, code = self._scales[group], self._zeros[group], self._codes[index]
        torch.div(value, scale, out=code).round_().add_(zero).clamp_(0, self._most)
        level = torch.sub(code, zero, out=error).mul_(scale)
        lost = torch.sub(column, level)
        column.copy_(level)
        torch.div(lost, self._diagonals[place], out=error)

    def end_block(self, block: Tensor) -> None:
        """Every column is what it becomes already."""

    def quantized(self) -> QuantizedWeight:
        """Codes of the whole weight, in its own order of columns."""
        codes, column_groups = self._codes.to(torch.uint8), None
        if self._order is not None:
            settled = torch.empty_like(codes)
            settled[self._order] = codes
            codes = settled
            if not self._beforehand:
                column_groups = torch.empty(len(codes), dtype=torch.int32, device=codes.device)
                column_groups[self._order] = torch.tensor(self._group_of, dtype=torch.int32, device=codes.device)
        return QuantizedWeight(
            codes.T.contiguous(),
            self._scales.T.contiguous(),
            self._zeros.T.to(torch.uint8).contiguous(),
            self._bits,
            column_groups,
        )
