"""What a safetensors file says it holds, read from its header alone and checked against the file's size."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.artefacts.file_kinds import plain_file
from calibrant.errors import InputError

# Bits of a number, by the format's names.
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}
LONGEST = 100_000_000  # bytes of a header, by the format
METADATA = "__metadata__"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its number format by the file's name for it, its shape, and which bytes of the file it is."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """The tensors of a file in the order of their bytes, and its metadata."""

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        InputError: no such file, or its header is not one, or does not describe the bytes that follow it.
    """
    plain_file(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, LONGEST):
                raise _bad(path, f"its {size:,} bytes end before its header does" if size else "it is empty")
            raw = file.read(length)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"its header is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise _bad(path, "its header is no JSON object")
    metadata = found.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(path, f"{METADATA} must map names to text")
    tensors = [(name, _tensor(path, name, entry, 8 + length)) for name, entry in found.items()]
    tensors.sort(key=lambda item: (item[1].begin, item[1].end))
    position = 8 + length
    for name, tensor in tensors:
        if tensor.begin != position:
            kind = "overlaps another" if tensor.begin < position else "does not begin where the one before it ends"
            raise _bad(path, f"tensor {name} {kind}")
        position = tensor.end
    if position != size:
        what = "is truncated" if position > size else "has bytes of no tensor at its end"
        raise _bad(path, f"it {what}: {size:,} bytes, and its header describes {position:,}")
    return Header(dict(tensors), metadata)


def _tensor(path: Path, name: str, entry: Any, start: int) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError):
        raise _bad(path, f"tensor {name} lacks a dtype, a shape or data_offsets") from None
    if dtype not in BITS if isinstance(dtype, str) else True:
        raise _bad(path, f"tensor {name} has the unknown number format {dtype}")
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise _bad(path, f"tensor {name} has a shape or data_offsets that are no whole numbers of 0 or more")
    if (end - begin) * 8 != math.prod(shape) * BITS[dtype]:
        raise _bad(path, f"tensor {name} has {end - begin:,} bytes, and a shape {shape} of {dtype}")
    return StoredTensor(path, dtype, tuple(shape), start + begin, start + end)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is in it twice")
    return found


def _bad(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: cannot be read as safetensors: {reason}")
