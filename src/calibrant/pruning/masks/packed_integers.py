"""A quantized linear as the format pack-quantized of compressed-tensors stores it: tensors of packed integers.

The format was read in compressed-tensors 0.20.1 (Apache-2.0, `compressors/pack_quantized`); no code is from there. It
stores signed codes with an offset that makes them unsigned again, which is what ours are: the same bits.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.pruning.quantized_weight import QuantizedWeight

# Several whole codes fill a word. Of other widths the format's versions differ: 0.15 leaves bits of a word empty, 0.20
# lets a code begin in one word and end in the next, and no file says which.
WIDTHS = (2, 4, 8)
WORD = 32


def packed_entries(shape: list[int], groups: int, bits: int, symmetric: bool) -> dict[str, tuple[str, list[int]]]:
    """The tensors of a linear, as `packed_tensors` makes them: what stands for `weight` in their names, type and shape.

    Args:
        shape: [outputs, inputs].
        groups: of columns of a row.
        bits: of a code.
        symmetric: whether no zeros are stored.
    """
    rows, cols = shape
    found = {
        "weight_packed": ("I32", [rows, words(cols, bits)]),
        "weight_scale": ("F32", [rows, groups]),
        "weight_shape": ("I64", [2]),
    }
    return found if symmetric else {**found, "weight_zero_point": ("I32", [words(rows, bits), groups])}


def packed_tensors(quantized: QuantizedWeight, symmetric: bool) -> Mapping[str, Tensor]:
    """The tensors of a linear: codes packed along the columns, scales, the shape, and zeros packed along the rows.

    Scales stay float32, whatever the checkpoint is in: a reader that computes the weights while it loads them then has
    the very weights that were measured, and one that keeps the scales rounds them to its own number format.

    Args:
        quantized: its codes, scales and zeros; groups are runs of columns.
        symmetric: whether all zeros are the middle of the codes, and none is stored.

    Raises:
        InputError: `symmetric`, and a zero is elsewhere; or groups are no runs of columns, for which there is no place.
    """
    bits = quantized.bits
    if quantized.column_groups is not None:
        raise InputError("its groups are no runs of columns")
    found = {
        "weight_packed": pack_words(quantized.codes, bits),
        "weight_scale": quantized.scales,
        "weight_shape": torch.tensor(quantized.codes.shape, dtype=torch.int64),
    }
    if symmetric:
        if bool((quantized.zeros != 2 ** (bits - 1)).any()):
            raise InputError("its zeros are not all in the middle of the codes, as the file says; make it again")
        return found
    return {**found, "weight_zero_point": pack_words(quantized.zeros.T, bits).T.contiguous()}


def pack_words(codes: Tensor, bits: int) -> Tensor:
    """uint8 [rows, cols] of 2, 4 or 8 bits -> int32 [rows, words], the first code in the lowest bits."""
    rows, cols = codes.shape
    in_byte = 8 // bits
    filled = np.zeros((rows, words(cols, bits) * WORD // bits), dtype=np.uint8)
    filled[:, :cols] = codes.cpu().numpy()
    shifted = filled.reshape(rows, -1, in_byte) << (np.arange(in_byte, dtype=np.uint8) * bits)
    octets = np.bitwise_or.reduce(shifted, axis=2)
    return torch.from_numpy(octets.view("<i4").astype(np.int32))


def words(codes: int, bits: int) -> int:
    """Words of 32 bits that so many codes take."""
    return -(-codes * bits // WORD)
