"""A quantized weight matrix as tensors: codes, and for each group of columns a scale and a zero."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight is (code - zero) * scale, with the scale and the zero of its row and of its column's group.

    codes: uint8 [rows, cols], below 2 to the power of `bits`.
    scales: float32 [rows, groups].
    zeros: uint8 [rows, groups].
    bits: of a code.
    column_groups: the group of each column, int32 [cols]; None where groups are runs of equal length.
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    bits: int
    column_groups: Tensor | None = None

    def dequantized(self) -> Tensor:
        """The weights that the codes stand for, float32 [rows, cols]."""
        rows, cols = self.codes.shape
        if self.column_groups is not None:
            groups = self.column_groups.to(torch.int64)
            return (self.codes.to(torch.float32) - self.zeros[:, groups]) * self.scales[:, groups]
        grouped = self.codes.reshape(rows, self.scales.shape[1], -1).to(torch.float32)
        return grouped.sub_(self.zeros[:, :, None]).mul_(self.scales[:, :, None]).reshape(rows, cols)


def join_rows(parts: Sequence[QuantizedWeight]) -> QuantizedWeight:
    """Parts of one matrix, over one another; they share their columns' groups."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return QuantizedWeight(
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat([part.zeros for part in parts]),
        first.bits,
        first.column_groups,
    )


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """uint8 [rows, cols] -> uint8 [rows, ceil(cols * bits / 8)], the codes joined, most significant bit first."""
    rows = len(codes)
    unpacked = np.unpackbits(codes.cpu().numpy()[:, :, None], axis=2)[:, :, 8 - bits :]
    return torch.from_numpy(np.packbits(unpacked.reshape(rows, -1), axis=1))


def unpack_codes(packed: Tensor, cols: int, bits: int) -> Tensor:
    """The inverse of `pack_codes`: uint8 [rows, cols]."""
    rows = len(packed)
    single = np.unpackbits(packed.numpy(), axis=1, count=cols * bits).reshape(rows, cols, bits)
    filled = np.zeros((rows, cols, 8), dtype=np.uint8)
    filled[:, :, 8 - bits :] = single
    return torch.from_numpy(np.packbits(filled, axis=2)[:, :, 0])


def packed_columns(cols: int, bits: int) -> int:
    """Bytes of a row of packed codes."""
    return -(-cols * bits // 8)
