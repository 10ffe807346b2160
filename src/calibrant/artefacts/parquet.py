"""Parquet files with one JSON metadata key, the same bytes for the same content, which reading compares."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from calibrant.artefacts.atomic import atomic_path
from calibrant.artefacts.column_digests import ColumnDigests, column_digests
from calibrant.artefacts.contents import METADATA_KEY, Record, changed, parse_record, record
from calibrant.artefacts.digest import canonical_json
from calibrant.artefacts.metadata_forms import check
from calibrant.artefacts.table_form import TableForm
from calibrant.errors import InputError, first_line

OPTIONS: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}


def write_table(path: str | Path, table: pa.Table, metadata: Mapping[str, Any]) -> None:
    """Write `table` atomically; `metadata` goes under the schema metadata key `calibrant` (sorted JSON).

    A digest of every column, and of all together, is written with it (`contents`).
    """
    # Pages follow the chunks in memory: one chunk, so that bytes depend on the content only.
    table = table.combine_chunks()
    written = canonical_json(record(metadata, column_digests(table))).encode()
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: written}), temporary, **OPTIONS)


class TableWriter:
    """A Parquet file that is written piece by piece, a row group for each piece."""

    def __init__(self, parquet: pq.ParquetWriter) -> None:
        self._parquet = parquet
        self._digests = ColumnDigests()
        self._digests.update(parquet.schema.empty_table())

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self._digests.update(table)
        self._parquet.write_table(table.combine_chunks())

    def close(self, metadata: Mapping[str, Any]) -> None:
        """Write the metadata, with a digest of every column (`contents`)."""
        written = canonical_json(record(metadata, self._digests.result()))
        self._parquet.add_key_value_metadata({METADATA_KEY: written})


@contextlib.contextmanager
def table_writer(path: str | Path, schema: pa.Schema, metadata: Mapping[str, Any]) -> Iterator[TableWriter]:
    """As `write_table`, for rows that come one piece after the other."""
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **OPTIONS) as parquet:
        writer = TableWriter(parquet)
        yield writer
        writer.close(metadata)


def read_table(
    path: str | Path, columns: Sequence[str] | None = None, form: TableForm | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Read a Parquet file: the table and the `calibrant` metadata ({} when another program wrote it).

    A file of ours is compared with the digests in its metadata, whatever is read of it.

    Args:
        path: the file.
        columns: only these; all by default.
        form: what it must be; other artefacts, other columns and other cells are refused.

    Raises:
        InputError: missing, truncated, damaged (pages carry checksums) or not Parquet; a named column is absent;
            ours, but not what its digests say; or not as the form says.
    """
    path = Path(path)
    file = _open(path, form)
    found = _record(path, file, form)
    names = file.schema_arrow.names
    missing = [name for name in columns or () if name not in names]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; its columns are {', '.join(names)}")
    try:
        table = file.read(columns=list(columns) if columns is not None else None)
        digests = {} if found is None else column_digests(table)
    except _DAMAGE as error:
        raise _unreadable(path, error, form) from error
    if found is not None:
        _compare(path, digests, found)
    if form is not None:
        table = form.checked(path, table)
    return table, {} if found is None else found.metadata


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The `calibrant` metadata alone, {} when another program wrote the file; one of ours is compared as a whole.

    Raises:
        InputError: as `read_table`.
    """
    path = Path(path)
    file = _open(path, None)
    found = _record(path, file, None)
    if found is None:
        return {}
    digests = ColumnDigests()
    try:
        digests.update(file.schema_arrow.empty_table())
        for batch in file.iter_batches():
            digests.update(pa.table(batch))
    except _DAMAGE as error:
        raise _unreadable(path, error, None) from error
    _compare(path, digests.result(), found)
    return found.metadata


_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError)


def _open(path: Path, form: TableForm | None) -> pq.ParquetFile:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        names = file.schema_arrow.names
    except _DAMAGE as error:
        raise _unreadable(path, error, form) from error
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: has two columns called {twice[0]}; names of columns must differ")
    return file


def _compare(path: Path, digests: Mapping[str, str], found: Record) -> None:
    for name, digest in digests.items():
        if digest != found.parts[name]:
            raise changed(str(path), f"column {name} is")


def _record(path: Path, file: pq.ParquetFile, form: TableForm | None) -> Record | None:
    """The metadata of ours, whole and of the right artefact; None where another program wrote the file."""
    raw = (file.metadata.metadata or {}).get(METADATA_KEY.encode())
    if raw is None:
        if form is not None and not form.foreign:
            raise InputError(f"{path}: has no metadata of calibrant; {form.way()}")
        return None
    found = parse_record(raw, str(path))
    if form is not None:
        form.check_stage(path, found.metadata)
        check(form.metadata, found.metadata, str(path))
    if set(file.schema_arrow.names) != set(found.parts):
        raise changed(str(path), "its columns are")
    return found


def _unreadable(path: Path, error: BaseException, form: TableForm | None) -> InputError:
    if form is not None and path.is_file() and _is_text(path):
        return InputError(f"{path}: is text, and no Parquet file; {form.way(path)}")
    return InputError(f"{path}: cannot be read as Parquet, perhaps truncated or damaged ({first_line(error)})")


def _is_text(path: Path) -> bool:
    """Whether a file begins with text, or is a packed file whose name says that text is in it."""
    with path.open("rb") as file:
        start = file.read(4096)
    if start[:2] == b"\x1f\x8b" or start[:4] == b"\x28\xb5\x2f\xfd":
        return ".parquet" not in path.suffixes
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(start) - error.start > 3:  # not a letter that the end cuts through
            return False
        text = start[: error.start].decode("utf-8-sig")
    return bool(text.strip()) and not any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text)
