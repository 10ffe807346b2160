"""Documents are read from every form the contract names, and refused with a line that says what is wrong."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from calibrant.calibration.documents import read_documents
from calibrant.errors import InputError
from calibrant.sources.table_rows import read_rows

ROWS = [{"doc_id": "a", "text": "Été one.\nTwo."}, {"doc_id": "b", "text": "three"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_jsonl_compressed_or_not(tmp_path: Path, suffix: str) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    path = tmp_path / f"corpus.jsonl{suffix}"
    path.write_bytes(pack(JSONL))
    documents = read_documents(path)
    assert documents.ids == ["a", "b"]
    assert documents.texts == [row["text"] for row in ROWS]
    assert documents.source == "corpus"
    assert documents.token_ids is None


def test_jsonl_without_names_is_numbered_by_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "  "}\n{"text": "b"}\n')
    documents = read_documents(path, source="mine")
    assert (documents.ids, documents.texts, documents.source) == (["0", "3"], ["a", "b"], "mine")


def test_plain_text_is_one_document_unless_paragraphs_are_asked_for(tmp_path: Path) -> None:
    """As in a study, whose sources are read by `table_rows`."""
    path = tmp_path / "book.txt.gz"
    text = "First\nline.\n\n  \nSecond.\n\n\n"
    path.write_bytes(gzip.compress(text.encode()))
    documents = read_documents(path)
    assert documents.texts == [text]
    assert documents.source == "book"
    assert read_documents(path, paragraphs=True).texts == ["First\nline.", "Second."]
    for paragraphs in (False, True):
        with path.open("rb") as stream:
            rows = [row.row["text"] for row in read_rows(stream, path.name, "text", paragraphs=paragraphs)]
        assert rows == read_documents(path, paragraphs=paragraphs).texts


def test_parquet_with_and_without_names(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    pq.write_table(pa.table({"doc_id": ["x", "y", "z"], "text": ["one", None, "two"]}), folder / "documents.parquet")
    documents = read_documents(folder / "documents.parquet")
    assert (documents.ids, documents.texts, documents.source) == (["x", "z"], ["one", "two"], "web")
    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "plain.parquet")
    assert read_documents(tmp_path / "plain.parquet").ids == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"text": "a"}\n{"body": "b"}\n', r"line 2 has no column 'text' \(text_key\); there are body"),
        ("x.jsonl", b'{"text": 3}\n', "line 1 has int in column 'text'; it must be a text"),
        ("x.jsonl", b"{text\n", "line 1 is not JSON"),
        ("x.jsonl", b"\n", "holds no text"),
        ("x.jsonl.gz", gzip.compress(JSONL, mtime=0)[:-9], "perhaps truncated"),
        ("x.jsonl.zst", zstandard.ZstdCompressor().compress(JSONL)[4:], "cannot be read, perhaps truncated"),
        ("x.txt", b"caf\xe9", "UTF-8"),
        ("x.parquet", b"PAR1", "cannot be read, perhaps truncated"),
        ("x.pdf", b"%PDF", "files that end in .pdf are not read; read are .jsonl"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_documents(path)
    assert name in str(error.value)


def test_parquet_without_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["one"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no column 'text'; there are body"):
        read_documents(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no such file"):
        read_documents(tmp_path / "absent.parquet")
