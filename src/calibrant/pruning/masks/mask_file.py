"""Mask files: which weights of which linear layers are kept, in safetensors that any tool can read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calibrant.artefacts.metadata_forms import Form
from calibrant.artefacts.tensor_files import TensorFile, stream_record, write_tensors
from calibrant.errors import InputError
from calibrant.pruning.masks.mask_record import LAYER, MASKS, STAGE

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class MaskFile:
    """An open mask file; what is read of it is compared with its digests.

    path: the file.
    masks: a linear's name -> bool [rows, cols], unpacked when it is asked for.
    metadata: `mask_record.MASKS`.
    """

    path: Path
    masks: Mapping[str, Tensor]
    metadata: dict[str, Any]
    _packed: TensorFile
    _weights: TensorFile | None

    @property
    def weights_updated(self) -> bool:
        """Whether the method changed weights that it kept."""
        return self._weights is not None

    def packed(self, name: str) -> Tensor:
        """The keep-bits of a linear, uint8 [rows, ceil(cols / 8)]."""
        return self._packed.get(name)

    def weight(self, name: str) -> Tensor | None:
        """The updated weight of a linear [rows, cols], None where the method updates none.

        Raises:
            InputError: it is not what its digest says, or holds NaN or infinite numbers.
        """
        return None if self._weights is None else self._weights.get(f"{name}.weight", finite=True)

    def check(self, *, weights: bool = False) -> None:
        """Read every mask, and every updated weight too if asked, and compare it with its digest.

        Raises:
            InputError: one is not what its digest says.
        """
        self._packed.check()
        if weights and self._weights is not None:
            for name in self.masks:
                self.weight(name)


class _LazyMasks(Mapping[str, Tensor]):
    def __init__(self, file: TensorFile, shapes: Mapping[str, list[int]]) -> None:
        self._file, self._shapes = file, shapes

    def __getitem__(self, name: str) -> Tensor:
        cols = self._shapes[name][1]
        return unpack(self._file.get(name), cols)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._shapes))

    def __len__(self) -> int:
        return len(self._shapes)


def pack(mask: Tensor) -> Tensor:
    """Bool [rows, cols] -> uint8 [rows, ceil(cols / 8)], most significant bit first (numpy.packbits, axis=1)."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy(), axis=1))


def unpack(packed: Tensor, cols: int) -> Tensor:
    """The inverse of `pack`: bool [rows, cols]."""
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=cols).astype(bool))


def zero_pruned(weight: Tensor, mask: Tensor) -> None:
    """Zero in place what the keep-mask (bool, of the weight's shape) prunes; every other bit stays.

    As a product of integers of the weight's size: on a CPU over thirty times faster than `masked_fill_` in bfloat16.
    """
    weight.view(_INTEGERS[weight.element_size()]).mul_(mask.to(weight.device))


def weights_path(path: str | Path) -> Path:
    """Where a mask file's updated weights lie: `x.safetensors` -> `x.weights.safetensors`."""
    return Path(path).with_suffix(".weights.safetensors")


def write_masks(
    path: str | Path,
    masks: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write keep-masks {linear's name: bool [rows, cols]}, and updated weights {name.weight: tensor} beside them.

    `CONTENTS` of `mask_record` is added to the metadata. The weights are written first, so that a mask file that
    promises them is never seen without.
    """
    complete = {**metadata, "shapes": {name: list(mask.shape) for name, mask in masks.items()}}
    weights_sha256 = None if weights is None else write_tensors(weights_path(path), weights, complete)
    write_tensors(path, {name: pack(mask) for name, mask in masks.items()}, _linked(complete, weights_sha256))


def join_masks(path: str | Path, parts: Sequence[Path], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Write the mask files of layers into one, and their updated weights, a tensor in memory at a time.

    Returns:
        The metadata of the whole.
    """
    files = [read_masks(part, LAYER) for part in parts]
    shapes = {name: shape for file in files for name, shape in file.metadata["shapes"].items()}
    complete = {**metadata, "shapes": shapes}
    weights = [file._weights for file in files if file._weights is not None]
    weights_sha256 = join_files(weights_path(path), weights, complete) if weights else None
    complete = _linked(complete, weights_sha256)
    join_files(path, [file._packed for file in files], complete)
    return complete


def join_files(path: str | Path, files: Sequence[TensorFile], metadata: Mapping[str, Any]) -> str:
    """Write the tensors of several files of ours into one; returns the digest of its record."""
    holder = {name: file for file in files for name in file.entries}
    entries = {name: file.entries[name] for name, file in holder.items()}
    return stream_record(path, entries, lambda name: holder[name].get(name), metadata)


def read_masks(path: str | Path, form: Form = MASKS) -> MaskFile:
    """Open a mask file; each mask is read when it is asked for.

    Args:
        path: the file.
        form: what its metadata hold: `MASKS`, or `LAYER` for a layer of an unfinished run.

    Raises:
        InputError: not a mask file; packed shapes that do not fit the recorded ones; or updated weights are missing,
            or another mask's.
    """
    path = Path(path)
    file = TensorFile(path, "masks", form, STAGE)
    shapes = file.metadata["shapes"]
    if set(file.entries) != set(shapes):
        odd = sorted(set(file.entries) ^ set(shapes))[0]
        raise InputError(f"masks {path}: tensors and recorded shapes disagree on {odd}")
    for name, (rows, cols) in shapes.items():
        expected = ("U8", [rows, -(-cols // 8)])
        if file.entries[name] != expected:
            found = " ".join(map(str, file.entries[name]))
            raise InputError(
                f"masks {path}: {name} is {found}, expected U8 {expected[1]} for a mask of {rows} x {cols}"
            )
    weights = _read_weights(path, file) if file.metadata["weights_updated"] else None
    return MaskFile(path, _LazyMasks(file, shapes), file.metadata, file, weights)


def _linked(metadata: Mapping[str, Any], weights_sha256: str | None) -> dict[str, Any]:
    return {**metadata, "weights_updated": weights_sha256 is not None, "weights_sha256": weights_sha256}


def _read_weights(path: Path, masks: TensorFile) -> TensorFile:
    place = weights_path(path)
    if not place.is_file():
        raise InputError(f"masks {path}: its updated weights are missing; expected {place} beside it")
    weights = TensorFile(place, "updated weights")
    if weights.sha256 != masks.metadata["weights_sha256"]:
        raise InputError(f"masks {path}: {place} beside it are the updated weights of other masks; make both again")
    shapes = {f"{name}.weight": shape for name, shape in masks.metadata["shapes"].items()}
    if {name: shape for name, (_, shape) in weights.entries.items()} != shapes:
        raise InputError(f"updated weights {place}: names or shapes are not those of the masks {path}")
    return weights
