"""The header of a safetensors file, read without the library: what tables and reports need of masks."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.artefacts.contents import METADATA_KEY, Record, parse_record
from calibrant.artefacts.file_kinds import plain_file
from calibrant.artefacts.metadata_forms import Form, check
from calibrant.errors import InputError, first_line

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
    plain_file(path, what)
    raw = raw_header(path, where)
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


def raw_header(path: Path, where: str) -> dict[str, Any]:
    """The header as it stands, of whatever program; `where` heads the messages.

    Raises:
        InputError: not safetensors.
    """
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
        raise InputError(f"{where}: cannot be read as safetensors, perhaps truncated ({first_line(error)})") from error
    return header
