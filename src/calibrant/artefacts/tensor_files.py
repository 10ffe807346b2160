"""Safetensors, written one tensor at a time, so that a file can be far larger than memory, and compared when read."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from calibrant.artefacts.atomic import atomic_path
from calibrant.artefacts.contents import METADATA_KEY, changed, record
from calibrant.artefacts.digest import canonical_json
from calibrant.artefacts.metadata_forms import Form
from calibrant.artefacts.tensor_header import read_header
from calibrant.errors import InputError, first_line

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
Entries = Mapping[str, tuple[str, list[int]]]  # name -> (safetensors' dtype name, shape)
Digests = Mapping[str, str]


def stream_tensors(
    path: str | Path, entries: Entries, read: Callable[[str], Iterable[Tensor]], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file atomically, reading each tensor when its place comes.

    Args:
        path: the file.
        entries: name -> (safetensors' dtype name, shape); they are laid out by name.
        read: name -> the tensor, in pieces along its first dimension; each is dropped when it is written.
        metadata: the header's `__metadata__`.
    """
    _stream(path, entries, read, lambda digests: metadata, digested=False)


def stream_record(
    path: str | Path, entries: Entries, read: Callable[[str], Tensor], metadata: Mapping[str, Any]
) -> str:
    """As `stream_tensors`, for a file of ours: one metadata key, `calibrant`, with a digest of every tensor.

    Returns:
        The digest of the record (`TensorFile.sha256`), which covers all tensors.
    """

    def described(digests: Digests) -> dict[str, str]:
        return {METADATA_KEY: canonical_json(record(metadata, digests))}

    found = _stream(path, entries, lambda name: [read(name)], described, digested=True)
    return str(record(metadata, found)["contents"]["sha256"])


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Write tensors at hand by `stream_record`; returns the digest of the record."""
    entries = {name: (NAMES[tensor.dtype], list(tensor.shape)) for name, tensor in tensors.items()}
    return stream_record(path, entries, lambda name: tensors[name], metadata)


class TensorFile:
    """An open file of `stream_record`; a tensor is read, and compared with its digest, when it is asked for.

    Attributes:
        path: the file.
        metadata: without the digests.
        sha256: digest of the record; it covers all tensors.
        entries: name -> (safetensors' dtype name, shape).
    """

    def __init__(self, path: str | Path, what: str, form: Form | None = None, stage: str | None = None) -> None:
        """Open a file; `what` it holds heads the messages.

        Raises:
            InputError: missing, truncated, not safetensors, or not as `tensor_header.read_header` has it.
        """
        self.path = Path(path)
        self._where = f"{what} {path}"
        header = read_header(path, what, form, stage)
        try:
            self._file: Any = safe_open(self.path, framework="pt")
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(
                f"{self._where}: cannot be read as safetensors, perhaps truncated ({first_line(error)})"
            ) from error
        self.metadata, self.sha256, self.entries = header.record.metadata, header.record.sha256, header.tensors
        self._digests = header.record.parts
        if set(self.entries) != set(self._digests):
            odd = sorted(set(self.entries) ^ set(self._digests))[0]
            raise changed(self._where, f"its tensors are (see {odd}),")

    def get(self, name: str, *, finite: bool = False) -> Tensor:
        """A tensor on the CPU.

        Raises:
            InputError: it is not what its digest says; or, with `finite`, holds NaN or infinite numbers.
        """
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{self._where}: {name} cannot be read ({first_line(error)})") from error
        if _digest(*self.entries[name], tensor) != self._digests[name]:
            raise changed(self._where, f"tensor {name} is")
        if finite and not all_finite(tensor):
            raise InputError(f"{self._where}: tensor {name} holds NaN or infinite numbers; make it again")
        return tensor

    def check(self) -> None:
        """Compare all tensors with their digests.

        Raises:
            InputError: as `get`.
        """
        for name in self.entries:
            self.get(name)


def all_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite: by the extremes, which on a CPU takes a twentieth of `torch.isfinite`."""
    return tensor.numel() == 0 or all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor))


def read_metadata(path: str | Path, what: str) -> dict[str, Any]:
    """The `calibrant` metadata of a safetensors file, from its header alone; `what` it holds heads the messages.

    Raises:
        InputError: missing, truncated, not safetensors, without this metadata, or changed since.
    """
    return TensorFile(path, what).metadata


def _stream(
    path: str | Path,
    entries: Entries,
    read: Callable[[str], Iterable[Tensor]],
    described: Callable[[Digests], Mapping[str, str]],
    *,
    digested: bool,
) -> Digests:
    """Write the file; `described` makes the header's metadata of the tensors' digests, which are of one length."""
    placed: dict[str, Any] = {}
    offset = 0
    for name, (dtype, shape) in sorted(entries.items()):
        size = DTYPES[dtype].itemsize * torch.Size(shape).numel()
        placed[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    digests: dict[str, str] = dict.fromkeys(sorted(entries), "0" * 64)
    header = _header(described(digests), placed)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(header)
        for name, (dtype, shape) in sorted(entries.items()):
            digest = _begin_digest(dtype, shape)
            rows = 0
            for piece in read(name):
                if NAMES[piece.dtype] != dtype or list(piece.shape[1:]) != list(shape[1:]):
                    raise ValueError(f"{name}: {piece.dtype} {list(piece.shape)} was announced as {dtype} {shape}")
                rows += len(piece) if shape else 1
                content = _bytes(piece.detach().cpu())
                if digested:
                    digest.update(content)
                file.write(content)
            if rows != (shape[0] if shape else 1):
                raise ValueError(f"{name}: {rows} rows were announced as {dtype} {shape}")
            if digested:
                digests[name] = digest.hexdigest()
        if digested:  # only now are they known
            complete = _header(described(digests), placed)
            assert len(complete) == len(header)
            file.seek(0)
            file.write(complete)
    return digests


def _header(metadata: Mapping[str, str], placed: Mapping[str, Any]) -> bytes:
    whole = {"__metadata__": dict(metadata), **placed} if metadata else dict(placed)
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format wants tensors to begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text


def _digest(dtype: str, shape: list[int], tensor: Tensor) -> str:
    digest = _begin_digest(dtype, shape)
    digest.update(_bytes(tensor))
    return digest.hexdigest()


def _begin_digest(dtype: str, shape: list[int]) -> "hashlib._Hash":
    return hashlib.sha256(f"{dtype}:{list(shape)}:".encode())


def _bytes(tensor: Tensor) -> memoryview:
    found: memoryview = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
    return found
