"""Parquet files with one JSON metadata key, the same bytes for the same content."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from calibrant.artefacts.atomic import atomic_path
from calibrant.artefacts.digest import canonical_json
from calibrant.errors import InputError

METADATA_KEY = b"calibrant"


def write_table(path: str | Path, table: pa.Table, metadata: dict[str, Any]) -> None:
    """Write `table` atomically; `metadata` goes under the schema metadata key `calibrant` (sorted JSON)."""
    # Pages follow the chunks in memory: one chunk, so that bytes depend on the content only.
    table = table.combine_chunks().replace_schema_metadata({METADATA_KEY: canonical_json(metadata).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """Read a Parquet file: the table and the `calibrant` metadata ({} when another program wrote it).

    Raises:
        InputError: missing, truncated, damaged (pages carry checksums) or not Parquet; a named column is absent;
            the metadata are not JSON.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        names = file.schema_arrow.names
        missing = [name for name in columns or () if name not in names]
        if missing:
            raise InputError(f"{path}: has no column {', '.join(missing)}; its columns are {', '.join(names)}")
        table = file.read(columns=list(columns) if columns is not None else None)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as Parquet, perhaps truncated or damaged ({reason})") from error
    return table, _metadata(path, table.schema)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The `calibrant` metadata of a Parquet file alone, as `read_table` has them.

    Raises:
        InputError: as `read_table`.
    """
    try:
        return _metadata(Path(path), pq.read_schema(path))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from error


def _metadata(path: Path, schema: pa.Schema) -> dict[str, Any]:
    raw = (schema.metadata or {}).get(METADATA_KEY, b"{}")
    try:
        metadata = json.loads(raw)
    except ValueError as error:
        raise InputError(f"{path}: its metadata key {METADATA_KEY.decode()} is not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: its metadata key {METADATA_KEY.decode()} holds {type(metadata).__name__}, no object")
    return metadata
