"""Mask files: which weights of which linear layers are kept, in safetensors that any tool can read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from calibrant.artefacts.digest import canonical_json
from calibrant.artefacts.tensor_files import METADATA_KEY, read_metadata, stream_tensors, write_tensors
from calibrant.errors import InputError

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class MaskFile:
    """An open mask file: `masks` maps a linear's name to bool [rows, cols], unpacked when it is asked for."""

    path: Path
    masks: Mapping[str, Tensor]
    metadata: dict[str, Any]


class _LazyMasks(Mapping[str, Tensor]):
    def __init__(self, path: Path, shapes: Mapping[str, list[int]]) -> None:
        self._path, self._shapes = path, shapes

    def __getitem__(self, name: str) -> Tensor:
        cols = self._shapes[name][1]
        with safe_open(self._path, framework="pt") as file:
            return unpack(file.get_tensor(name), cols)

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

    `shapes` is added to the metadata: a packed mask does not tell its number of columns. The weights are
    written first, so that a mask file that promises them is never seen without.
    """
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    complete = {**metadata, "shapes": shapes, "weights_updated": weights is not None}
    if weights is not None:
        write_tensors(weights_path(path), weights, complete)
    write_tensors(path, {name: pack(mask) for name, mask in masks.items()}, complete)


def join_files(path: str | Path, parts: Sequence[Path], metadata: Mapping[str, Any]) -> None:
    """Write the tensors of several safetensors files into one, a tensor in memory at a time."""
    holder: dict[str, Path] = {}
    entries: dict[str, tuple[str, list[int]]] = {}
    for part in parts:
        with safe_open(part, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                piece = file.get_slice(name)
                entries[name] = (piece.get_dtype(), piece.get_shape())
                holder[name] = part

    def read(name: str) -> Tensor:
        with safe_open(holder[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    stream_tensors(path, entries, read, {METADATA_KEY: canonical_json(metadata)})


def read_masks(path: str | Path) -> MaskFile:
    """Open a mask file; each mask is read when it is asked for.

    Raises:
        InputError: not a mask file; packed shapes that do not fit the recorded ones; or updated weights are missing.
    """
    path = Path(path)
    metadata = read_metadata(path, "masks")
    shapes = metadata.get("shapes")
    if not isinstance(shapes, dict):
        raise InputError(f"masks {path}: its metadata has no shapes, so it is not a mask file of calibrant")
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        if names != set(shapes):
            odd = sorted(names ^ set(shapes))[0]
            raise InputError(f"masks {path}: tensors and recorded shapes disagree on {odd}")
        for name, (rows, cols) in shapes.items():
            packed = file.get_slice(name)
            if packed.get_dtype() != "U8" or packed.get_shape() != [rows, -(-cols // 8)]:
                raise InputError(
                    f"masks {path}: {name} is {packed.get_dtype()} {packed.get_shape()}, "
                    f"expected U8 {[rows, -(-cols // 8)]} for a mask of {rows} x {cols}"
                )
    if metadata.get("weights_updated") and not weights_path(path).is_file():
        raise InputError(f"masks {path}: its updated weights are missing; expected {weights_path(path)} beside it")
    return MaskFile(path, _LazyMasks(path, shapes), metadata)
