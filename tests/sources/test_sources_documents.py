"""Documents: counted drops, stable held-out documents, every origin, the same bytes twice."""

import json

import pyarrow.parquet as pq
import pytest
from sources_helpers import jsonl, prose, sha256

from calibrant.artefacts.parquet import read_table
from calibrant.sources.document_builder import is_held_out, normalise


def rows(path):
    return read_table(path)[0].to_pylist()


@pytest.fixture
def source(tmp_path):
    texts = [prose(i) for i in range(60)]
    texts += [texts[0], "  " + texts[1].replace(" ", "\n", 3), "", "Yes.", "\ufffd" + texts[2]]
    path = tmp_path / "texts.jsonl"
    path.write_text(jsonl(texts))
    return path


def config(path, **more):
    spec = {"files": [str(path)], "clean": ["undecodable", "fragment"], "min_characters": 100, "heldout": 0.25}
    return {"sources": {"s": {**spec, **more}}}


def test_counts_add_up_and_are_said(download, source):
    status, out, said = download(config(source))
    assert status == 0
    record = json.loads((out / "sources/s/provenance.json").read_text())
    counts = record["counts"]
    assert counts["read"] == 65
    assert counts["dropped"] == {"duplicate": 2, "empty": 1, "fragment": 1, "undecodable": 1}
    kept, held = rows(out / "sources/s/documents.parquet"), rows(out / "sources/s/heldout.parquet")
    assert (counts["kept"], counts["heldout"]) == (len(kept), len(held))
    assert len(kept) + len(held) == 60
    assert counts["characters"] == sum(len(row["text"]) for row in kept)
    assert record["origin"] == {"files": [{"name": "texts.jsonl", "sha256": sha256(source)}]}
    assert said.startswith("source:s: read 65, dropped 5 (duplicate 2, empty 1, fragment 1, undecodable 1)")
    assert said.count("\n") == 1


def test_held_out_is_disjoint_and_does_not_depend_on_place(download, source, tmp_path):
    _, out, _ = download(config(source))
    held = {row["text"] for row in rows(out / "sources/s/heldout.parquet")}
    kept = {row["text"] for row in rows(out / "sources/s/documents.parquet")}
    assert held
    assert not held & kept
    lines = source.read_text().splitlines(keepends=True)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(reversed(lines[:60])))
    _, out2, _ = download(config(other), output="out2")
    assert {row["text"] for row in rows(out2 / "sources/s/heldout.parquet")} == held
    ids = {row["text"]: row["doc_id"] for row in rows(out / "sources/s/documents.parquet")}
    assert all(ids[row["text"]] == row["doc_id"] for row in rows(out2 / "sources/s/documents.parquet"))
    assert len(set(ids.values())) == len(ids)


def test_held_out_share_is_nested_and_about_right():
    texts = [prose(i) for i in range(2000)]
    small, large = ({t for t in texts if is_held_out(t, share)} for share in (0.1, 0.3))
    assert small < large
    assert abs(len(large) / 2000 - 0.3) < 0.04
    assert not any(is_held_out(t, 0.0) for t in texts)
    assert is_held_out(texts[0].replace(" ", "  "), 0.3) == is_held_out(texts[0], 0.3)


def test_same_bytes_twice(download, source):
    spec = config(source) | {"tasks": {"t": {"kind": "next_sentence", "source": "s", "items": 5}}}
    assert download(spec, output="one")[0] == 0
    assert download(spec, output="two")[0] == 0
    one, two = (source.parent / name for name in ("one", "two"))
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert len(files) == 5
    assert all((one / p).read_bytes() == (two / p).read_bytes() for p in files)
    assert download(spec, output="one")[0] == 0  # over what is there
    assert all((one / p).read_bytes() == (two / p).read_bytes() for p in files)


def test_metadata_holds_no_path(download, source):
    _, out, _ = download(config(source))
    metadata = read_table(out / "sources/s/documents.parquet")[1]
    assert metadata["settings"]["clean"] == ["undecodable", "fragment"]
    assert str(source.parent) not in json.dumps(metadata) + (out / "sources/s/provenance.json").read_text()


def test_reading_stops_early(download, source):
    _, out, _ = download(config(source, max_documents=7))
    assert json.loads((out / "sources/s/provenance.json").read_text())["counts"]["read"] == 7
    _, out, _ = download(config(source, max_characters=2000, heldout=0))
    kept = rows(out / "sources/s/documents.parquet")
    assert sum(len(r["text"]) for r in kept[:-1]) < 2000 <= sum(len(r["text"]) for r in kept)


def test_more_documents_than_a_row_group(download, tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text(jsonl([f"Document {i} is short." for i in range(5000)]))
    _, out, _ = download({"sources": {"s": {"files": [str(path)]}}})
    file = pq.ParquetFile(out / "sources/s/documents.parquet")
    assert file.metadata.num_rows == 5000
    assert file.metadata.num_row_groups > 1
    assert rows(out / "sources/s/documents.parquet")[4999]["text"] == "Document 4999 is short."
    assert rows(out / "sources/s/heldout.parquet") == []


def test_patterns_several_files_and_another_column(download, tmp_path):
    for i in range(3):
        (tmp_path / f"part{i}.jsonl").write_text(jsonl([prose(i)], key="0"))
    spec = {"files": [str(tmp_path / "part[0-1].jsonl"), str(tmp_path / "part1.jsonl")], "text_key": 0}
    _, out, _ = download({"texts": {"t": spec}})
    assert [row["text"] for row in rows(out / "texts/t/documents.parquet")] == [prose(0), prose(1)]
    assert not (out / "texts/t/heldout.parquet").exists()


@pytest.mark.parametrize("streaming", [True, False])
def test_datasets_library(download, source, tmp_path, monkeypatch, streaming):
    """A hub data set goes the same way; here `datasets`' own JSON builder on a local file."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    spec = config(source)["sources"]["s"]
    spec |= {"hub": "json", "data_files": [str(source)], "split": "train", "streaming": streaming}
    del spec["files"]
    status, out, said = download({"sources": {"s": spec}})
    assert status == 0, said
    _, plain, _ = download(config(source), output="plain")
    assert rows(out / "sources/s/documents.parquet") == rows(plain / "sources/s/documents.parquet")
    origin = json.loads((out / "sources/s/provenance.json").read_text())["origin"]
    assert origin["data_files"] == [{"name": "texts.jsonl", "sha256": sha256(source)}]


def test_normalise():
    assert normalise(" a\n b\u00a0c ") == "a b c"
