"""Write safetensors one tensor at a time, so that a file can be far larger than memory."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from calibrant.artefacts.atomic import atomic_path
from calibrant.artefacts.digest import canonical_json
from calibrant.errors import InputError

METADATA_KEY = "calibrant"
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def stream_tensors(
    path: str | Path,
    entries: Mapping[str, tuple[str, list[int]]],
    read: Callable[[str], Tensor],
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file atomically, reading each tensor when its place comes.

    Args:
        path: the file.
        entries: name -> (safetensors' dtype name, shape); they are laid out by name.
        read: name -> the tensor.
        metadata: the header's `__metadata__`.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, (dtype, shape) in sorted(entries.items()):
        size = DTYPES[dtype].itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format wants tensors to begin at a multiple of 8
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name, (dtype, shape) in sorted(entries.items()):
            tensor = read(name)
            if NAMES[tensor.dtype] != dtype or list(tensor.shape) != list(shape):
                raise ValueError(f"{name}: {tensor.dtype} {list(tensor.shape)} was announced as {dtype} {shape}")
            file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors with one metadata key, `calibrant`, as sorted JSON."""
    entries = {name: (NAMES[tensor.dtype], list(tensor.shape)) for name, tensor in tensors.items()}
    stream_tensors(path, entries, lambda name: tensors[name], {METADATA_KEY: canonical_json(metadata)})


def read_metadata(path: str | Path, what: str) -> dict[str, Any]:
    """The `calibrant` metadata of a safetensors file, from its header alone; `what` it holds heads the messages.

    Raises:
        InputError: missing, truncated, not safetensors, or without this metadata.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{what} {path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, framework="pt") as file:
            raw = (file.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{what} {path}: cannot be read as safetensors, perhaps truncated ({error})") from error
    if raw is None:
        raise InputError(f"{what} {path}: has no metadata key {METADATA_KEY}, so it is no file of calibrant")
    return dict(json.loads(raw))
