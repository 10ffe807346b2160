"""SHA-256 of a table's columns: of names, types, empty cells and values, however they lie in memory or in a file."""

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Streams = list[tuple[str, Any]]  # (what, running SHA-256): presence, lengths and values, for each level of a list


def column_digests(table: pa.Table) -> dict[str, str]:
    """The digest of every column, by its name."""
    digests = ColumnDigests()
    digests.update(table)
    return digests.result()


class ColumnDigests:
    """The digests of a table that is written, or read, piece by piece: the same for any pieces."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._columns: dict[str, Streams] = {}

    def update(self, table: pa.Table) -> None:
        """Add rows; all pieces have the same columns."""
        for name in table.column_names:
            column = table.column(name)
            streams = self._columns.setdefault(name, _streams(column.type))
            for chunk in column.chunks:
                _feed(streams, chunk)

    def result(self) -> dict[str, str]:
        """Name of a column -> its digest."""
        return {name: _joined(name, streams) for name, streams in self._columns.items()}


def _joined(name: str, streams: Streams) -> str:
    whole = hashlib.sha256(name.encode("utf-8", "surrogatepass"))
    for what, stream in streams:
        whole.update(f":{what}:{stream.hexdigest()}".encode())
    return whole.hexdigest()


def _streams(kind: pa.DataType) -> Streams:
    present = ("present", hashlib.sha256())
    if is_list(kind):
        return [present, ("list", hashlib.sha256()), *_streams(kind.value_type)]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [present, ("lengths", hashlib.sha256()), ("text", hashlib.sha256())]
    return [present, (str(kind) if _is_plain(kind) else "other", hashlib.sha256())]


def _feed(streams: Streams, array: pa.Array) -> None:
    (_, present), (_, first), *rest = streams
    kind = array.type
    present.update(_numbers(array.is_valid()))
    if is_list(kind):
        first.update(_numbers(array.value_lengths().cast(pa.int64()).fill_null(0)))
        _feed(rest, array.flatten())
    elif rest:  # strings
        encoded = array.cast(pa.large_string()).cast(pa.large_binary()).fill_null(b"")
        first.update(_numbers(pc.binary_length(encoded)))
        rest[0][1].update(b"".join(encoded.to_pylist()))
    elif _is_plain(kind):
        first.update(_numbers(array.fill_null(pa.scalar(0).cast(kind)) if array.null_count else array))
    elif not pa.types.is_null(kind):  # a column of another program's that is carried along
        for value in array.to_pylist():
            first.update(repr(value).encode("utf-8", "surrogatepass") + b"\0")


def is_list(kind: pa.DataType) -> bool:
    """Whether cells are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _numbers(array: pa.Array) -> bytes:
    return bytes(array.to_numpy(zero_copy_only=False).tobytes())
