"""A weight file's bytes, read once: its hash, and the largest number of each of its tensors.

Hashing reads every byte anyway, and numbers that no computation survives (NaN, infinite, too large) are found there,
before any work and alike in every stage. It costs a sixth of the hashing.
"""

import hashlib
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calibrant.errors import InputError
from calibrant.models.checkpoint.weight_headers import StoredTensor

CHUNK = 1 << 18  # bytes, which a core's cache holds; a multiple of every number's size
BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}  # of the numbers that are looked at


def hash_and_peaks(path: Path, tensors: Mapping[str, StoredTensor]) -> tuple[str, dict[str, float]]:
    """SHA-256 of a file, and the largest magnitude in each of its tensors of floats of 16 bits or more.

    NaN counts as larger than infinity, and infinity as larger than numbers: without their signs, floats are ordered as
    their bits are.

    Args:
        path: a safetensors file.
        tensors: those of its header, by name.

    Raises:
        InputError: it cannot be read, or has changed since its header was.
    """
    digest = hashlib.sha256()
    largest: dict[str, int] = {}
    scratch = np.empty(CHUNK, np.uint8)
    places = sorted(tensors.items(), key=lambda item: item[1].begin)
    try:
        with open(path, "rb", buffering=0) as file:
            for piece in _pieces(file, places[0][1].begin if places else 0):
                digest.update(piece.data)
            for name, tensor in places:
                size = BYTES.get(tensor.dtype)
                for piece in _pieces(file, tensor.end - tensor.begin):
                    digest.update(piece.data)
                    if size is not None:
                        bits, room = piece.view(f"<i{size}"), scratch[: len(piece)].view(f"<i{size}")
                        found = int(np.bitwise_and(bits, 2 ** (8 * size - 1) - 1, out=room).max())
                        largest[name] = max(largest.get(name, 0), found)
            if file.read(1):
                raise EOFError
    except EOFError:
        raise InputError(f"{path}: has changed while it was read") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest(), {name: _number(bits, tensors[name].dtype) for name, bits in largest.items()}


def _pieces(file: FileIO, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """The next `size` bytes, a chunk at a time, each in the place of the one before it."""
    buffer = np.empty(min(size, CHUNK), np.uint8)
    while size:
        piece = buffer[: min(size, CHUNK)]
        filled = 0
        while filled < len(piece):
            count = file.readinto(piece[filled:].data)
            if not count:
                raise EOFError
            filled += count
        yield piece
        size -= len(piece)


def _number(bits: int, dtype: str) -> float:
    """The magnitude that these bits stand for."""
    if dtype == "BF16":  # the upper half of a float32
        return float(np.array(bits << 16, "<u4").view("<f4"))
    size = BYTES[dtype]
    return float(np.array(bits, f"<i{size}").view(f"<f{size}"))
