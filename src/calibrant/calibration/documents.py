"""Read the documents that calibration sets are drawn from: Parquet, JSONL or plain text, compressed or not."""

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pyarrow as pa

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import read_table
from calibrant.calibration.sample_set import generation_format
from calibrant.errors import InputError
from calibrant.sources.table_rows import text_documents

SEPARATOR = "\n\n"  # joins documents into a stream, wherever one is made
_GENERIC_NAMES = ("documents", "data", "text", "train")


@dataclass(frozen=True)
class Documents:
    """Texts with their names, and, for generated rows, the tokens they were generated as.

    `token_ids` is set when the file is itself a set of token sequences (rows that `generate` ended early);
    `tokenizer_sha256` then says which tokenizer the ids belong to.
    """

    ids: list[str]
    texts: list[str]
    source: str
    sha256: str
    origin: str = "real"
    token_ids: list[list[int]] | None = None
    tokenizer_sha256: str | None = None
    path: str = ""
    generation_format: Mapping[str, str] = field(default_factory=dict)  # `sample_set.generation_format` of the file

    def __len__(self) -> int:
        return len(self.texts)


def read_documents(path: str | Path, source: str | None = None, *, paragraphs: bool = False) -> Documents:
    """Read `path`: Parquet with a `text` column, `*.jsonl` with a `text` key, or plain text; also `.gz` and `.zst`.

    Documents are named by the column or key `doc_id` (else `id`, `sample_id`), else by their position. A plain
    text file is one document; with `paragraphs` it is divided at blank lines. `source` defaults to the rows' own
    `source` when they agree, else to the file's name (or its folder's, for `documents.parquet`). Empty documents are
    refused by nobody and drawn by nobody: they are left out here.

    Raises:
        InputError: missing or unreadable file, no text column or key, a text that is not a string, no document.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"documents {path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    sha256 = sha256_file(path)
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".parquet":
        return _read_parquet(path, source, sha256)
    kind = next((s for s in reversed(suffixes) if s not in (".gz", ".zst")), ".txt")
    if kind in (".jsonl", ".ndjson"):
        pairs = list(_jsonl(path))
    elif kind in (".json", ".csv", ".tsv", ".tab", ".arrow"):
        raise InputError(f"documents {path}: {kind} is not read; give Parquet, JSONL or plain text (also .gz, .zst)")
    else:
        pairs = [(str(i), text) for i, text in enumerate(text_documents("".join(_lines(path)), paragraphs))]
    return _documents(path, pairs, source or _name(path), sha256)


def open_text(path: Path) -> IO[str]:
    """Open a UTF-8 text file, decompressing `.gz` and `.zst`."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if suffix == ".zst":
        import zstandard

        stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
        return io.TextIOWrapper(stream, encoding="utf-8")
    return path.open(encoding="utf-8")


def _lines(path: Path) -> Iterator[str]:
    try:
        with open_text(path) as file:
            yield from file
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"documents {path}: cannot be read as UTF-8 text, perhaps truncated ({error})") from error
    except Exception as error:  # zstandard's own error class
        if type(error).__name__ != "ZstdError":
            raise
        raise InputError(f"documents {path}: cannot be decompressed, perhaps truncated ({error})") from error


def _jsonl(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"documents {path}, line {number}: is not JSON ({error})") from error
        if not isinstance(row, dict) or "text" not in row:
            keys = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
            raise InputError(f"documents {path}, line {number}: has no key text; found {keys or 'an empty object'}")
        if not isinstance(row["text"], str):
            raise InputError(
                f"documents {path}, line {number}: text is {type(row['text']).__name__}; it must be a string"
            )
        yield str(row.get("doc_id", row.get("id", number - 1))), row["text"]


def _documents(path: Path, pairs: list[tuple[str, str]], source: str, sha256: str) -> Documents:
    pairs = [(name, text) for name, text in pairs if text.strip()]
    if not pairs:
        raise InputError(f"documents {path}: holds no text")
    return Documents([p[0] for p in pairs], [p[1] for p in pairs], source, sha256, path=str(path))


def _read_parquet(path: Path, source: str | None, sha256: str) -> Documents:
    table, metadata = read_table(path)
    if "text" not in table.column_names:
        raise InputError(f"documents {path}: has no column text; its columns are {', '.join(table.column_names)}")
    if not (pa.types.is_string(table.schema.field("text").type) or pa.types.is_large_string(table["text"].type)):
        raise InputError(f"documents {path}: column text is {table['text'].type}; it must be strings")
    texts = table["text"].to_pylist()
    keep = [i for i, text in enumerate(texts) if text is not None and text.strip()]
    if not keep:
        raise InputError(f"documents {path}: holds no text")
    named = next((c for c in ("doc_id", "id", "sample_id") if c in table.column_names), None)
    names = [str(v) for v in table[named].to_pylist()] if named else [str(i) for i in range(len(texts))]
    recorded = _only_value(table, "source") or metadata.get("source")
    tokens = None
    origin = _only_value(table, "origin") or "real"
    if "input_ids" in table.column_names:
        rows = table["input_ids"].to_pylist()
        tokens = [rows[i] for i in keep]
    return Documents(
        [names[i] for i in keep],
        [texts[i] for i in keep],
        source or recorded or _name(path),
        sha256,
        origin,
        tokens,
        metadata.get("tokenizer_sha256"),
        str(path),
        generation_format(metadata),
    )


def _only_value(table: pa.Table, column: str) -> str | None:
    if column not in table.column_names:
        return None
    values = set(table[column].to_pylist())
    return str(values.pop()) if len(values) == 1 and None not in values else None


def _name(path: Path) -> str:
    name = path.name.split(".")[0]
    return path.resolve().parent.name if name in _GENERIC_NAMES else name
