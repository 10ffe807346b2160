"""Write mask files: of tensors at hand, or of the files of single layers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from calibrant.artefacts.tensor_files import TensorFile, stream_record, write_tensors
from calibrant.pruning.masks.code_tensors import code_tensors
from calibrant.pruning.masks.mask_file import pack, read_masks, weights_path
from calibrant.pruning.masks.mask_record import LAYER
from calibrant.pruning.quantized_weight import QuantizedWeight


def write_masks(
    path: str | Path,
    masks: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    weights: Mapping[str, Tensor] | None = None,
    quantized: Mapping[str, QuantizedWeight] | None = None,
) -> None:
    """Write keep-masks {linear's name: bool [rows, cols]}, and updated weights {name.weight: tensor} beside them.

    `CONTENTS` of `mask_record` is added to the metadata. The weights are written first, so that a mask file that
    promises them is never seen without.

    Args:
        path: the mask file.
        masks: of all linears; not written where `metadata["quantized"]["pruned"]` says that nothing is pruned.
        metadata: what the file says of itself, with `mask_record.WIDTH` where weights are quantized.
        weights: the updated weights, and those of rescaled modules.
        quantized: codes of linears.
    """
    complete = {**metadata, "shapes": {name: list(mask.shape) for name, mask in masks.items()}}
    weights_sha256 = None if weights is None else write_tensors(weights_path(path), weights, complete)
    pruned = metadata.get("quantized", {}).get("pruned", True)
    tensors = {name: pack(mask) for name, mask in masks.items()} if pruned else {}
    for name, codes in (quantized or {}).items():
        tensors |= code_tensors(name, codes)
    write_tensors(path, tensors, _linked(complete, weights_sha256))


def join_masks(path: str | Path, parts: Sequence[Path], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Write the mask files of layers into one, and their updated weights, a tensor in memory at a time.

    Returns:
        The metadata of the whole.
    """
    files = [read_masks(part, LAYER) for part in parts]
    complete = {**metadata, "shapes": _joined(file.metadata["shapes"] for file in files)}
    widths = [file.metadata["quantized"] for file in files if "quantized" in file.metadata]
    if widths:
        complete["quantized"] = {**widths[0], "codes": _joined(width["codes"] for width in widths)}
        if rescaled := _joined(file.rescaled for file in files):
            complete["rescaled"] = rescaled
    weights = [file.weights_file for file in files if file.weights_file is not None]
    weights_sha256 = join_files(weights_path(path), weights, complete) if weights else None
    complete = _linked(complete, weights_sha256)
    join_files(path, [file.packed_file for file in files], complete)
    return complete


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def join_files(path: str | Path, files: Sequence[TensorFile], metadata: Mapping[str, Any]) -> str:
    """Write the tensors of several files of ours into one; returns the digest of its record."""
    holder = {name: file for file in files for name in file.entries}
    entries = {name: file.entries[name] for name, file in holder.items()}
    return stream_record(path, entries, lambda name: holder[name].get(name), metadata)


def _linked(metadata: Mapping[str, Any], weights_sha256: str | None) -> dict[str, Any]:
    return {**metadata, "weights_updated": weights_sha256 is not None, "weights_sha256": weights_sha256}
