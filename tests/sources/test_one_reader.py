"""Text comes in one way: what `download` makes of a file is what `sample`, `evaluate` and the others read from it."""

import csv
import gzip
import io
import itertools
import json
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.artefacts.parquet import read_table
from calibrant.calibration.documents import read_documents
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.sources.asset_specs import parse_documents
from calibrant.sources.document_builder import build_documents
from calibrant.sources.text_rows import row_texts

KEY = "body"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
KINDS = ("jsonl", "ndjson", "json", "parquet", "csv", "tsv", "tab", "txt", "md")


def written(kind: str, texts: list[str | None], bom: bool = False) -> bytes:
    """Texts as a file of that kind; a plain text file holds them joined."""
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"n": range(len(texts)), KEY: pa.array(texts, pa.string())}), sink)
        return sink.getvalue()
    if kind in ("txt", "md"):
        text = "\n\n".join(each or "" for each in texts)
    elif kind in ("csv", "tsv", "tab"):
        sheet = io.StringIO()
        rows = csv.writer(sheet, delimiter="," if kind == "csv" else "\t")
        rows.writerows([["n", KEY], *([n, text or ""] for n, text in enumerate(texts))])
        text = sheet.getvalue()
    else:
        text = "\n".join(json.dumps({"n": n, KEY: each}, ensure_ascii=n % 2 == 0) for n, each in enumerate(texts))
    return text.encode("utf-8-sig" if bom else "utf-8")


def by_download(path: Path, folder: Path, **settings: object) -> list[str]:
    spec = parse_documents("sources.s", "s", {"files": [str(path)], "text_key": KEY, **settings}, heldout=True)
    build_documents(spec, folder, folder / "archives")
    return list(read_table(folder / "documents.parquet")[0]["text"].to_pylist())


TEXTS = st.lists(
    st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    min_size=1,
    max_size=6,
    unique_by=lambda text: " ".join((text or "").split()),
)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from(KINDS), st.sampled_from(list(PACKERS)), st.booleans(), st.booleans())
def test_documents_are_the_same_by_every_door(
    texts: list[str | None], kind: str, pack: str, bom: bool, paragraphs: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"corpus.{kind}{pack}"
        path.write_bytes(PACKERS[pack](written(kind, texts, bom and kind != "parquet")))
        wanted = [text for text in texts if text and text.strip()]
        if not wanted:
            for door in (lambda: read_documents(path, text_key=KEY), lambda: by_download(path, Path(name) / "out")):
                with pytest.raises(InputError):
                    door()
            return
        read = read_documents(path, text_key=KEY, paragraphs=paragraphs).texts
        downloaded = by_download(path, Path(name) / "out", paragraphs=paragraphs)
        if kind in ("txt", "md"):
            joined = "\n\n".join(text or "" for text in texts).replace("\r\n", "\n").replace("\r", "\n")
            assert paragraphs or read == [joined]
            assert downloaded == list({" ".join(text.split()): text for text in reversed(read)}.values())[::-1]
        else:
            assert read == downloaded == wanted


CORPUS = [f"The {n}. document says something of its own: {n * 7919 % 1013:b}." for n in range(30)]


@pytest.mark.parametrize("pack", [".gz", ".zst"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "txt"])
def test_a_compressed_file_is_refused_wherever_it_was_cut(tmp_path: Path, kind: str, pack: str) -> None:
    data = PACKERS[pack](written(kind, list(CORPUS)))
    path = tmp_path / f"corpus.{kind}{pack}"
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        with pytest.raises(InputError, match="truncated"):
            read_documents(path, text_key=KEY)
    path.write_bytes(data)
    assert len(read_documents(path, text_key=KEY).texts) == (1 if kind == "txt" else 30)


@pytest.mark.parametrize("pack", [".gz", ".zst"])
def test_many_frames_are_one_file_and_the_last_must_be_whole(tmp_path: Path, pack: str) -> None:
    frames = [PACKERS[pack](written("jsonl", CORPUS[i : i + 10]) + b"\n") for i in (0, 10, 20)]
    path = tmp_path / f"corpus.jsonl{pack}"
    padding = b"\0" * 512 if pack == ".gz" else struct.pack("<II", 0x184D2A50, 4) + b"skip"
    for after in (b"", padding):
        path.write_bytes(frames[0] + frames[1] + after + frames[2] + after)
        assert read_documents(path, text_key=KEY).texts == CORPUS
    whole = {sum(map(len, frames[:n])) for n in range(1, 4)}
    data = b"".join(frames)
    for cut in range(0, len(data), 3):
        path.write_bytes(data[:cut])
        if cut not in whole:
            with pytest.raises(InputError, match="truncated"):
                read_documents(path, text_key=KEY)
    path.write_bytes(data + b"trailing")
    with pytest.raises(InputError, match="cannot be read"):
        read_documents(path, text_key=KEY)


def parquet(column: pa.Array) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({KEY: column}), sink)
    return sink.getvalue()


NULL_AND_TEXT = b'{"body": null}\n\n{"body": "kept"}\n'


@pytest.mark.parametrize(
    ("name", "data", "wanted"),
    [
        ("x.jsonl", NULL_AND_TEXT, "kept"),
        ("x.JSONL", NULL_AND_TEXT, "kept"),
        ("x.jsonl", b"\xef\xbb\xbf" + NULL_AND_TEXT, "kept"),
        ("x.jsonl", b'{"body": "a\\u0000b"}\r\n', "a\0b"),
        ("x.jsonl", b'{"n": NaN, "body": "kept"}\n', "kept"),
        ("x.md", b"\xef\xbb\xbfa\r\nb\rc", "a\nb\nc"),
        ("x.parquet", parquet(pa.array([None, "kept"], pa.large_string())), "kept"),
        ("x.parquet", parquet(pa.array(["kept", None]).dictionary_encode()), "kept"),
        ("x.parquet", parquet(pa.array([b"kept"])), "has bytes in column 'body'; it must be a text"),
        ("x.parquet", parquet(pa.array([["kept"]])), "has list in column 'body'"),
        ("x.parquet", parquet(pa.array([3.5])), "has float in column 'body'"),
        ("x.jsonl", b'{"body": 3}\n', "line 1 has int in column 'body'"),
        ("x.jsonl", b'{"body": NaN}\n', "line 1 has float in column 'body'"),
        ("x.jsonl", b'\n{"text": "other"}\n', "line 2 has no column 'body' (text_key); there are text"),
        ("x.jsonl", b'{"body": "a", "body": "b"}\n', "line 1 has the column 'body' twice"),
        ("x.jsonl", b'{"body": "a", "n": ' + b"9" * 5000 + b"}\n", "line 1 cannot be read (Exceeds the limit"),
        ("x.jsonl", b'{"body": ' + b"[" * 100_000 + b"\n", "line 1 is nested too deeply"),
        ("x.jsonl", b"[1]\n", "line 1 is list, not an object"),
        ("x.jsonl", b'{"body": "caf\xe9"}\n', "line 1 is not UTF-8 text"),
        ("x.jsonl", '{"body": "a"}\n'.encode("utf-16"), "line 1 is not UTF-8 text but UTF-16"),
        ("x.jsonl", '{"body": "a"}\n'.encode("utf-16-le"), "NUL character"),
        ("x.txt", "a b".encode("utf-16"), "is not UTF-8 text but UTF-16"),
        ("x.txt", "a b".encode("utf-16-be"), "NUL character"),
        ("x.csv", "body\na\n".encode("utf-16-le"), "NUL character"),
        ("x.csv", b"n\n1\n", "has no column 'body'"),
        ("x.csv", b"body,body\n1,2\n", "has 2 columns 'body'"),
        ("x.csv", b"", "is empty"),
        ("x.txt", b"", "no"),
        ("x.jsonl.gz", b"", "it is empty"),
        ("x.docx", b"", "files that end in .docx are not read; read are .jsonl, "),
        ("x", b"kept", "a file without an ending is not read"),
        ("x.jsonl.bz2", b"", "files that end in .bz2 are not read"),
    ],
)
def test_both_doors_say_the_same_of_a_file(tmp_path: Path, name: str, data: bytes, wanted: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    doors = (lambda: read_documents(path, text_key=KEY).texts, lambda: by_download(path, tmp_path / "out"))
    for door in doors:
        if "kept" in wanted or wanted in ("a\0b", "a\nb\nc"):
            assert door() == [wanted]
        else:
            with pytest.raises(InputError) as caught:
                door()
            assert wanted in str(caught.value)
            assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    for name, words in (
        ("pipe.jsonl", "is a pipe"),
        ("folder.jsonl", "is a folder"),
        ("n" * 300 + ".txt", "no such"),
    ):
        for door in (lambda p: read_documents(p, text_key=KEY), lambda p: by_download(p, tmp_path / "out")):
            with pytest.raises(InputError, match=words):
                door(tmp_path / name)


def test_lone_surrogates_are_replaced_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scraped.jsonl"
    path.write_text(
        '{"id": "\\udc00", "body": "a \\ud83d b"}\n{"body": "\\ud83d\\ude00 \\ud83d\\ud83d"}\n{"body": "ok"}\n'
    )
    wanted = ["a \ufffd b", "\U0001f600 \ufffd\ufffd", "ok"]
    documents = read_documents(path, text_key=KEY)
    assert (documents.texts, documents.ids) == (wanted, ["\ufffd", "1", "2"])
    said = capsys.readouterr().err
    assert "4 lone surrogates (halves of characters) in 2 rows became U+FFFD" in said
    assert said.count("\n") == 1
    config = json.dumps({"sources": {"s": {"files": [str(path)], "text_key": KEY}}})
    assert main(["download", config, "--output", str(tmp_path / "out")]) == 0
    assert read_table(tmp_path / "out/sources/s/documents.parquet")[0]["text"].to_pylist() == wanted
    assert "4 lone surrogates" in capsys.readouterr().err
    provenance = json.loads((tmp_path / "out/sources/s/provenance.json").read_text())
    assert (provenance["counts"]["replaced_surrogates"], provenance["counts"]["mended"]) == (4, 2)


def test_rows_of_the_hub_come_in_the_same_way() -> None:
    rows = [{KEY: None}, {KEY: "a \ud83d"}, {KEY: "b"}, {KEY: 3}]
    texts = row_texts(rows, KEY, "json")
    assert [(row.text, row.replaced) for row in itertools.islice(texts, 3)] == [("", 0), ("a \ufffd", 1), ("b", 0)]
    with pytest.raises(InputError, match="json: row 4 has int in column 'body'; it must be a text"):
        next(texts)
    with pytest.raises(InputError, match=r"json: row 1 has no column 'text' \(text_key\); there are body"):
        next(row_texts(rows, "text", "json"))


def test_task_rows_come_in_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "quiz_test.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"context": "a \\ud83d", "choices": ["\\udc00", "y"], "label": 0}\n')
    [row] = RowFolder(tmp_path).read(path)
    assert row == {"context": "a \ufffd", "choices": ["\ufffd", "y"], "label": 0}
    assert "2 lone surrogates" in capsys.readouterr().err


def test_a_share_of_one_document_holds_out_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(CORPUS))
    for more, held in ({}, False), ({"paragraphs": True}, True):
        config = json.dumps({"sources": {"s": {"files": [str(book)], "heldout": 0.2, **more}}})
        assert main(["download", config, "--output", str(tmp_path / "out")]) == 0
        said = capsys.readouterr().err
        assert ("warning: none is held out although heldout is 0.2" in said) is not held
    config = json.dumps({"sources": {"s": {"files": [str(book)], "heldout": 0.999}}})
    assert main(["download", config, "--output", str(tmp_path / "all")]) == 2
    assert "all are held out" in capsys.readouterr().err
