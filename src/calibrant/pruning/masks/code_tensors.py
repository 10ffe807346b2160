"""A quantized weight in a mask file: the tensors that hold its codes, scales and zeros, and how they are read."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from calibrant.artefacts.tensor_files import TensorFile
from calibrant.errors import InputError
from calibrant.pruning.quantized_weight import QuantizedWeight, pack_codes, packed_columns, unpack_codes
from calibrant.settings.target import Width


def code_tensors(name: str, quantized: QuantizedWeight) -> dict[str, Tensor]:
    """NAME.codes uint8 [rows, ceil(cols * bits / 8)], packed along the columns, most significant bit first; NAME.scales
    float32 [rows, groups]; NAME.zeros uint8 [rows, groups]; where groups are no runs of columns, NAME.column_groups
    int32 [cols].
    """
    found = {
        f"{name}.codes": pack_codes(quantized.codes, quantized.bits),
        f"{name}.scales": quantized.scales.cpu().contiguous(),
        f"{name}.zeros": quantized.zeros.cpu().contiguous(),
    }
    if quantized.column_groups is not None:
        found[f"{name}.column_groups"] = quantized.column_groups.cpu().contiguous()
    return found


def code_entries(width: Mapping[str, Any], found: Collection[str]) -> dict[str, tuple[str, list[int]]]:
    """The tensors that a file must hold by what it says of its codes, with safetensors' types and their shapes.

    Args:
        width: `mask_record.WIDTH`'s `quantized`.
        found: names of the file's tensors, which tell whether a linear's groups are runs of columns.

    Raises:
        InputError: no such width, or a group that does not divide a linear's columns.
    """
    entries = {}
    of_all = Width(width["bits"], width["group"])
    for name, (rows, cols) in width["codes"].items():
        groups, left = divmod(cols, of_all.group or cols)
        if left:
            raise InputError(f"{name}: its {cols} columns are no whole number of groups of {of_all.group}")
        entries[f"{name}.codes"] = ("U8", [rows, packed_columns(cols, width["bits"])])
        entries[f"{name}.scales"] = ("F32", [rows, groups])
        entries[f"{name}.zeros"] = ("U8", [rows, groups])
        if f"{name}.column_groups" in found:
            entries[f"{name}.column_groups"] = ("I32", [cols])
    return entries


def read_quantized(file: TensorFile, name: str, width: Mapping[str, Any]) -> QuantizedWeight:
    """The inverse of `code_tensors`.

    Raises:
        InputError: a tensor is not what its digest says, or a scale is not finite.
    """
    cols = width["codes"][name][1]
    column_groups = f"{name}.column_groups"
    return QuantizedWeight(
        unpack_codes(file.get(f"{name}.codes"), cols, width["bits"]),
        file.get(f"{name}.scales", finite=True),
        file.get(f"{name}.zeros"),
        width["bits"],
        file.get(column_groups) if column_groups in file.entries else None,
    )
