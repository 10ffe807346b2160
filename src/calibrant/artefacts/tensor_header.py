"""The header of a safetensors file, read without the library: what tables and reports need of masks."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.artefacts.contents import Record, parse_record
from calibrant.artefacts.metadata_forms import Form, check
from calibrant.errors import InputError

METADATA_KEY = "calibrant"
LONGEST = 100_000_000  # bytes, the format's own limit


@dataclass(frozen=True)
class Header:
    """record: our metadata, found whole. tensors: name -> (safetensors' dtype name, shape)."""

    record: Record
    tensors: Mapping[str, tuple[str, list[int]]]


def read_header(path: str | Path, what: str, form: Form | None = None, stage: str | None = None) -> Header:
    """The header of a file of ours; `what` it holds heads the messages.

    Args:
        path: the file.
        what: masks, statistics.
        form: what its metadata must be.
        stage: the stage that makes it, where its metadata name another one.

    Raises:
        InputError: missing, not safetensors, without our metadata, changed since, or of another kind.
    """
    path = Path(path)
    where = f"{what} {path}"
    if not path.is_file():
        raise InputError(f"{where}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    raw = _parsed(path, where)
    text = raw.pop("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        made = "" if stage is None else f"; {what} are made by `calibrant {stage}`"
        raise InputError(f"{where}: has no metadata key {METADATA_KEY}, so it is no file of calibrant{made}")
    record = parse_record(text, where)
    made_by = record.metadata.get("stage")
    if stage is not None and made_by is not None and made_by != stage:
        raise InputError(
            f"{where}: was made by calibrant {str(made_by)[:40]!r}; {what} are made by `calibrant {stage}`"
        )
    if form is not None:
        check(form, record.metadata, where)
    return Header(record, {name: (entry["dtype"], entry["shape"]) for name, entry in raw.items()})


def _parsed(path: Path, where: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(LONGEST, path.stat().st_size):
                raise ValueError("it does not begin with a header that it has room for")
            header = json.loads(file.read(length).decode("utf-8"))
        if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
            raise ValueError("its header is no object")
        for name, entry in header.items():
            if name != "__metadata__" and not (isinstance(entry["dtype"], str) and isinstance(entry["shape"], list)):
                raise ValueError(f"its header has no dtype and shape of {name}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: cannot be read as safetensors, perhaps truncated ({reason})") from error
    return header
