"""Rows of a table-like file, one at a time: JSONL, Parquet, CSV, tab-separated, plain text; also .gz and .zst."""

import contextlib
import csv
import gzip
import io
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import IO, Any, cast

import zstandard

from calibrant.errors import InputError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".tab", ".txt")
ORANGE_TYPES = {"discrete", "continuous", "string", "time", "basket", "d", "c", "s", "t", "b"}
LONGEST_CELL = 1 << 28  # csv's default of 128 KiB is less than a book

Row = dict[str, Any]


def read_rows(stream: IO[bytes], name: str, text_key: str, *, paragraphs: bool = False) -> Iterator[Row]:
    """Yield the rows of `stream`, whose format is told by the suffix of `name`.

    A plain text file is one document: one row whose `text_key` is the whole file; with `paragraphs`, a row for each
    of its `text_documents`.

    Raises:
        InputError: an unknown suffix, or a file that is not what its suffix says (with the row's number).
    """
    with contextlib.ExitStack() as stack:
        stream, plain = _decompress(stack, stream, name)
        suffix = PurePath(plain).suffix.lower()
        try:
            if suffix in (".jsonl", ".ndjson", ".json"):
                yield from _json_lines(stream, name)
            elif suffix == ".parquet":
                yield from _parquet(stream)
            elif suffix in (".csv", ".tsv", ".tab"):
                yield from _delimited(stream, name, "," if suffix == ".csv" else "\t")
            elif suffix == ".txt":
                for text in text_documents(stream.read().decode("utf-8-sig"), paragraphs):
                    yield {text_key: text}
            else:
                raise InputError(f"{name}: unknown kind of file {suffix!r}; known: {', '.join(SUFFIXES)}, .gz, .zst")
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
        except (EOFError, OSError, csv.Error, zlib.error, zstandard.ZstdError) as error:
            raise InputError(f"{name}: cannot be read, perhaps truncated ({error})") from error


def text_documents(text: str, paragraphs: bool) -> list[str]:
    """The documents of a plain text file: the whole of it, or with `paragraphs` what lies between blank lines."""
    if not paragraphs:
        return [text]
    return [block.strip() for block in re.split(r"\n[ \t]*\n", text) if block.strip()]


def _decompress(stack: contextlib.ExitStack, stream: IO[bytes], name: str) -> tuple[IO[bytes], str]:
    if name.endswith(".gz"):
        return cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=stream))), name[:-3]
    if name.endswith(".zst"):
        # Several frames one after the other are one file, as the zstd command line has it.
        reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False)
        return cast(IO[bytes], stack.enter_context(io.BufferedReader(reader))), name[:-4]
    return stream, name


def _json_lines(stream: IO[bytes], name: str) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{name}: line {number} is not JSON ({error.msg}); one object a line is right") from error
        if not isinstance(row, dict):
            raise InputError(f"{name}: line {number} is {type(row).__name__}, not an object with named columns")
        yield row


def _parquet(stream: IO[bytes]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.SpooledTemporaryFile(max_size=1 << 26) as seekable:
        if not stream.seekable():  # Parquet begins at its end
            shutil.copyfileobj(stream, seekable)
            seekable.seek(0)
            stream = cast(IO[bytes], seekable)
        try:
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise OSError(str(error).splitlines()[0]) from error


def _delimited(stream: IO[bytes], name: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), delimiter=delimiter)
    header = next(reader, None)
    if header is None:
        raise InputError(f"{name}: is empty; the first line must name the columns")
    rows = (row for row in reader if row)
    second = next(reader, None)
    if second is not None and second and all(cell in ORANGE_TYPES for cell in second):
        next(reader, None)  # Orange's three header rows: names, types, roles
    elif second:
        yield _named(header, second, name, reader.line_num)
    for row in rows:
        yield _named(header, row, name, reader.line_num)


def _named(header: list[str], row: list[str], name: str, line: int) -> Row:
    if len(row) > len(header):
        raise InputError(f"{name}: line {line} has {len(row)} cells, the header has {len(header)}")
    return dict(zip(header, row, strict=False))
