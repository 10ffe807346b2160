"""Read the documents that calibration sets are drawn from, in every kind of file that `sources.table_rows` reads."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.file_kinds import plain_file
from calibrant.artefacts.parquet import read_metadata
from calibrant.calibration.sample_set import generation_format
from calibrant.errors import InputError
from calibrant.sources.text_rows import TextRow, file_texts, replaced_note

SEPARATOR = "\n\n"  # joins documents into a stream, wherever one is made
NAMES = ("doc_id", "id", "sample_id")  # columns that name a document
ORIGINS = ("real", "synthetic")
GENERIC_NAMES = ("documents", "data", "text", "train")


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


def read_documents(
    path: str | Path, source: str | None = None, *, text_key: str = "text", paragraphs: bool = False
) -> Documents:
    """Read `path`: JSONL, Parquet, CSV, tab-separated or plain text, each also as `.gz` and `.zst`.

    Documents are named by the column `doc_id` (else `id`, `sample_id`), else by their position. A plain text file is
    one document; with `paragraphs` it is divided at blank lines. `source` defaults to the rows' own `source` when they
    agree, else to the file's name (or its folder's, for `documents.parquet`). Rows without text (null, empty, white
    space) are left out. Lone surrogates become U+FFFD, which a line on standard error says.

    Raises:
        InputError: missing or unreadable file, no column `text_key`, a text that is not a string, no document.
    """
    path = plain_file(path, "documents")
    sha256 = sha256_file(path)
    beside = (*NAMES, "source", "origin", "input_ids")
    try:
        with path.open("rb") as stream:
            rows = list(file_texts(stream, str(path), text_key, paragraphs=paragraphs, beside=beside))
    except InputError as error:
        raise InputError(f"documents {error}") from error
    if note := replaced_note(sum(row.replaced for row in rows), sum(row.replaced > 0 for row in rows)):
        print(f"note: documents {path}: {note}", file=sys.stderr)
    rows = [row for row in rows if row.text.strip()]
    if not rows:
        raise InputError(f"documents {path}: holds no text")
    metadata = read_metadata(path) if path.suffix.lower() == ".parquet" else {}
    tokenizer = metadata.get("tokenizer_sha256")
    if tokenizer is None and "input_ids" in rows[0].row:
        print(
            f"note: documents {path}: their input_ids are left alone, since the file does not say which tokenizer made "
            "them; the text is tokenised (a set as calibrant writes it, in Parquet, keeps its tokens)",
            file=sys.stderr,
        )
    origin = _only_value(rows, "origin")
    return Documents(
        [_doc_id(row) for row in rows],
        [row.text for row in rows],
        source or _only_value(rows, "source") or metadata.get("source") or file_name(path, GENERIC_NAMES),
        sha256,
        origin if origin in ORIGINS else "real",
        _token_ids(rows, path) if tokenizer else None,
        tokenizer,
        str(path),
        generation_format(metadata),
    )


def file_name(path: Path, generic: Sequence[str]) -> str:
    """What a file is called: its name up to the first dot, or its folder's where that is among `generic` names."""
    name = path.name.split(".")[0]
    name = path.resolve().parent.name if name in generic else name
    return os.fsencode(name).decode(errors="replace")  # a name on disk need not be UTF-8


def _doc_id(row: TextRow) -> str:
    named = (row.row.get(column) for column in NAMES)
    return next((str(name) for name in named if name is not None), str(row.number - 1))


def _only_value(rows: Sequence[TextRow], column: str) -> str | None:
    first = rows[0].row.get(column)
    return first if isinstance(first, str) and first and all(row.row.get(column) == first for row in rows) else None


def _token_ids(rows: Sequence[TextRow], path: Path) -> list[list[int]] | None:
    """The token ids that the rows carry, or None where they have no such column."""
    if "input_ids" not in rows[0].row:
        return None
    found = [row.row["input_ids"] for row in rows]
    for row, ids in zip(rows, found, strict=True):
        if not isinstance(ids, list) or not all(isinstance(i, int) for i in ids):
            raise InputError(f"documents {path}: row {row.number}: input_ids must be a list of token ids")
    return found
