"""Every format gives the same rows, plain, gzip and zstd; broken files are named."""

import csv
import gzip
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from calibrant.errors import InputError
from calibrant.sources.table_rows import read_rows

ROWS = [
    {"text": 'one "quoted"\nline', "n": "1"},
    {"text": "zwei, drei\tvier", "n": "2"},
    {"text": "ein Wörtchen", "n": ""},
]


def encode(kind):
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n\n" for row in ROWS).encode()
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(ROWS), sink)
        return sink.getvalue()
    text = io.StringIO()
    writer = csv.DictWriter(text, ["text", "n"], delimiter="," if kind == "csv" else "\t")
    writer.writeheader()
    if kind == "tab":
        text.write("string\tdiscrete\ninclude=True\tclass\n\n")
    writer.writerows(ROWS)
    return text.getvalue().encode()


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv", "tsv", "tab"])
@pytest.mark.parametrize("pack", ["", ".gz", ".zst"])
def test_same_rows_in_every_format(kind, pack):
    data = encode(kind)
    if pack == ".gz":
        data = gzip.compress(data)
    elif pack == ".zst":  # two frames, as parallel compressors write them
        packer = zstandard.ZstdCompressor()
        data = packer.compress(data[:40]) + packer.compress(data[40:])
    assert [row.row for row in read_rows(io.BytesIO(data), f"f.{kind}{pack}")] == ROWS


def test_plain_text_is_one_document():
    assert [row.row for row in read_rows(io.BytesIO("a\n\nü".encode()), "book.txt", "body")] == [{"body": "a\n\nü"}]


def test_a_cell_longer_than_csv_allows_by_default():
    text = "x" * 300_000
    assert next(read_rows(io.BytesIO(f"text\n{text}\n".encode()), "f.csv", "text")).row["text"] == text


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("f.jsonl", b'{"text": 1}\n{"text"\n', "f.jsonl: line 2 is not JSON"),
        ("f.jsonl", b"[1]\n", "f.jsonl: line 1 is list"),
        ("f.parquet", b"PAR1 truncated", "cannot be read, perhaps truncated"),
        (
            "f.jsonl.gz",
            gzip.compress(json.dumps({"text": random.Random(0).randbytes(5000).hex()}).encode(), mtime=0)[:900],
            "cannot be read, perhaps truncated",
        ),
        ("f.txt.zst", b"not zstd at all", "cannot be read, perhaps truncated"),
        ("f.csv", b"", "is empty"),
        ("f.csv", b"a,b\n1,2,3\n", "line 2 has 3 cells, the header has 2"),
        ("f.txt", b"\xff\xfe\x00", "is not UTF-8"),
        ("f.pdf", b"", "f.pdf: files that end in .pdf are not read; read are .jsonl, "),
    ],
)
def test_broken_files_are_named(name, data, message):
    with pytest.raises(InputError, match=message):
        list(read_rows(io.BytesIO(data), name, "text"))
