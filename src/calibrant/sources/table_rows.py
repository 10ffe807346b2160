"""Rows of a file, one at a time: the one reader of JSONL, Parquet, CSV, tab-separated and plain text.

`sample`, `evaluate` and all who take documents read through it, and so do `download` and the rows of tasks.
"""

import csv
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import IO, Any, NamedTuple, cast

from calibrant.errors import InputError, first_line
from calibrant.sources.compression import COMPRESSIONS, FAULTS, decompressed, uncompressed_name

JSON_LINES, DELIMITED, PLAIN = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv", ".tab"), (".txt", ".text", ".md")
SUFFIXES = (*JSON_LINES, ".parquet", *DELIMITED, *PLAIN)
ORANGE_TYPES = {"discrete", "continuous", "string", "time", "basket", "d", "c", "s", "t", "b"}
LONGEST_CELL = 1 << 28  # csv's default of 128 KiB is less than a book
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # of a pair, which is a character, or alone, which is none

Row = dict[str, Any]


class NumberedRow(NamedTuple):
    """A row, its number from 1 (of its line in JSONL, where blank lines count), and how much of it was mended.

    `replaced` counts lone surrogates: halves of a character that scraped JSON spells as `\\ud83d`.
    """

    number: int
    row: Row
    replaced: int = 0


def file_kind(name: str) -> str:
    """The ending by which a file is read: `.jsonl` for `corpus.JSONL.gz`.

    Raises:
        InputError: no such kind of file is read; the message lists those that are.
    """
    suffix = PurePath(uncompressed_name(name)).suffix.lower()
    if suffix not in SUFFIXES:
        what = f"files that end in {suffix} are" if suffix else "a file without an ending is"
        packed = " or ".join(COMPRESSIONS)
        raise InputError(f"{name}: {what} not read; read are {', '.join(SUFFIXES)}, each also with {packed} behind it")
    return suffix


def read_rows(
    stream: IO[bytes],
    name: str,
    text_key: str | None = None,
    *,
    paragraphs: bool = False,
    beside: Sequence[str] = (),
) -> Iterator[NumberedRow]:
    """Yield the rows of `stream`, whose format is told by the ending of `name`.

    Args:
        stream: the file's bytes; it need not be seekable.
        name: the file's name, for the format and for messages.
        text_key: column of the text. A plain text file is one row with this column, or with `paragraphs` a row for
            each of its `text_documents`. Other columns than this and `beside` may be left out. None: all columns.
        paragraphs: divide plain text at blank lines.
        beside: further columns to take where they are.

    Raises:
        InputError: an unknown ending, or a file that is not what its ending says, is not UTF-8, or was cut off
            (with the number of the line or row).
    """
    kind = file_kind(name)
    stream = decompressed(stream, name)
    try:
        if kind in JSON_LINES:
            yield from _json_lines(stream, name)
        elif kind == ".parquet":
            yield from _numbered(_parquet(stream, name, text_key, beside))
        elif kind in DELIMITED:
            yield from _numbered(_delimited(stream, name, "," if kind == ".csv" else "\t", text_key))
        else:
            texts = text_documents(_plain(stream, name), paragraphs)
            yield from _numbered({text_key or "text": text} for text in texts)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: {_not_utf8(error)}") from error
    except (*FAULTS, csv.Error, zipfile.BadZipFile) as error:
        raise InputError(f"{name}: cannot be read, perhaps truncated ({error})") from error


def text_documents(text: str, paragraphs: bool) -> list[str]:
    """The documents of a plain text file: the whole of it, or with `paragraphs` what lies between blank lines."""
    if not paragraphs:
        return [text]
    return [block.strip() for block in re.split(r"\n[ \t]*\n", text) if block.strip()]


def mended(value: Any) -> tuple[Any, int]:
    """The same value with U+FFFD for every lone surrogate in its texts, and how many there were."""
    if isinstance(value, str):
        return (value, 0) if value.isascii() else _SURROGATE.subn("\ufffd", value)
    if isinstance(value, dict):
        parts = [(mended(key), mended(item)) for key, item in value.items()]
        return {key: item for (key, _), (item, _) in parts}, sum(a + b for (_, a), (_, b) in parts)
    if isinstance(value, list):
        items = [mended(item) for item in value]
        return [item for item, _ in items], sum(count for _, count in items)
    return value, 0


def _numbered(rows: Iterable[Row]) -> Iterator[NumberedRow]:
    return (NumberedRow(number, row) for number, row in enumerate(rows, start=1))


def _not_utf8(error: UnicodeDecodeError) -> str:
    if error.start == 0 and bytes(error.object[:2]) in (b"\xff\xfe", b"\xfe\xff"):
        return "is not UTF-8 text but UTF-16 (iconv -f UTF-16 -t UTF-8 converts it)"
    return f"is not UTF-8 text ({error.reason} at byte {error.start})"


def _no_nul(text: str, name: str, where: str = "") -> str:
    if "\0" in text:
        raise InputError(f"{name}: {where}holds a NUL character, so it is no UTF-8 text (UTF-16, perhaps)")
    return text


def _plain(stream: IO[bytes], name: str) -> str:
    text = _no_nul(stream.read().decode("utf-8-sig"), name)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _json_lines(stream: IO[bytes], name: str) -> Iterator[NumberedRow]:
    twice: set[str] = set()

    def columns(pairs: list[tuple[str, Any]]) -> Row:  # the outermost object comes last
        row = dict(pairs)
        twice.clear()
        if len(row) != len(pairs):
            twice.update(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        return row

    decoder = json.JSONDecoder(object_pairs_hook=columns)
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig").strip()
            if not text:
                continue
            row = decoder.decode(_no_nul(text, name, f"line {number} "))
            row, replaced = mended(row) if _ESCAPED_SURROGATE.search(line) else (row, 0)
        except InputError:
            raise
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: line {number} {_not_utf8(error)}") from error
        except json.JSONDecodeError as error:
            raise InputError(f"{name}: line {number} is not JSON ({error.msg}); one object a line is right") from error
        except RecursionError:
            raise InputError(f"{name}: line {number} is nested too deeply to be read") from None
        except ValueError as error:  # a number of thousands of digits
            raise InputError(f"{name}: line {number} cannot be read ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{name}: line {number} is {type(row).__name__}, not an object with named columns")
        if twice:
            raise InputError(f"{name}: line {number} has the column {sorted(twice)[0]!r} twice; once is right")
        yield NumberedRow(number, row, replaced)


def _parquet(stream: IO[bytes], name: str, text_key: str | None, beside: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.SpooledTemporaryFile(max_size=1 << 26) as seekable:
        if not stream.seekable():  # Parquet begins at its end
            shutil.copyfileobj(stream, seekable)
            seekable.seek(0)
            stream = cast(IO[bytes], seekable)
        try:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            found = file.schema_arrow.names
            wanted = None if text_key is None else [each for each in (text_key, *beside) if each in found]
            if text_key is not None and found.count(text_key) != 1:
                there = f"{found.count(text_key)} columns" if text_key in found else "no column"
                raise InputError(f"{name}: has {there} {text_key!r}; there are {', '.join(found) or 'none'}")
            for batch in file.iter_batches(batch_size=1024, columns=wanted):
                yield from batch.to_pylist()
        except (InputError, UnicodeDecodeError):
            raise
        except (pa.ArrowException, ValueError, OverflowError) as error:  # also dates that Python does not have
            raise OSError(first_line(error)) from error


def _delimited(stream: IO[bytes], name: str, delimiter: str, text_key: str | None) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    reader = csv.reader((_no_nul(line, name) for line in lines), delimiter=delimiter)
    header = next(reader, None)
    if header is None:
        raise InputError(f"{name}: is empty; the first line must name the columns")
    if text_key is not None and header.count(text_key) > 1:
        raise InputError(f"{name}: has {header.count(text_key)} columns {text_key!r}; one is right")
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
