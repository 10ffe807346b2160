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
    """uint8 [rows, cols] -> uint8 [rows, ceil(cols * bits / 8)], the codes joined, most significant bit first.

    Eight codes are a whole number of bytes: they are joined to one integer, of which these bytes are the last.
    """
    rows, cols = codes.shape
    whole = np.zeros((rows, -(-cols // 8) * 8), dtype=np.uint64)
    whole[:, :cols] = codes.cpu().numpy()
    eights = whole.reshape(rows, -1, 8)
    joined = eights[:, :, 0]
    for place in range(1, 8):
        joined = (joined << np.uint64(bits)) | eights[:, :, place]
    as_bytes = joined.astype(">u8").view(np.uint8).reshape(rows, -1, 8)[:, :, 8 - bits :]
    return torch.from_numpy(as_bytes.reshape(rows, -1)[:, : packed_columns(cols, bits)].copy())


def unpack_codes(packed: Tensor, cols: int, bits: int) -> Tensor:
    """The inverse of `pack_codes`: uint8 [rows, cols]."""
    rows, eights = len(packed), -(-cols // 8)
    padded = np.zeros((rows, eights * bits), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed.numpy()
    as_bytes = np.zeros((rows, eights, 8), dtype=np.uint8)
    as_bytes[:, :, 8 - bits :] = padded.reshape(rows, eights, bits)
    joined = as_bytes.view(">u8").astype(np.uint64)
    shifts = np.arange(7, -1, -1, dtype=np.uint64) * np.uint64(bits)
    codes = (joined >> shifts) & np.uint64(2**bits - 1)
    return torch.from_numpy(codes.astype(np.uint8).reshape(rows, -1)[:, :cols].copy())


def packed_columns(cols: int, bits: int) -> int:
    """Bytes of a row of packed codes."""
    return -(-cols * bits // 8)
