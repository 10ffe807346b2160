"""Configurations and inputs that are wrong: exit status 2, one line, nothing written under a final name."""

import pytest
from sources_helpers import jsonl, prose

FILES = {"files": ["x.jsonl"]}
ARCHIVE = {"package": "a==1", "sha256": "0" * 64, "member": "x.jsonl"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "names nothing to download"),
        ({"source": {}}, "unknown key source"),
        (
            {"sources": {"s": {**FILES, "text_kye": "t"}}},
            "sources.s: unknown key text_kye ('t'); did you mean text_key?",
        ),
        ({"sources": {"s": {}}}, "sources.s must have exactly one of archive, files, hub; it has none of them"),
        ({"sources": {"s": {**FILES, "hub": "a/b"}}}, "it has files and hub"),
        (
            {"sources": {"s": {**FILES, "heldout": 1.2}}},
            "sources.s.heldout is 1.2; it must be a share from 0 to below 1",
        ),
        ({"texts": {"s": {**FILES, "heldout": 0.2}}}, "texts.s: unknown key heldout"),
        ({"sources": {"s": {**FILES, "min_characters": -1}}}, "min_characters is -1; it must be a whole number"),
        ({"sources": {"s": {**FILES, "split": "train"}}}, "sources.s.split: only a hub data set has it"),
        ({"sources": {"s": {**FILES, "clean": ["wiky"]}}}, "unknown step 'wiky'"),
        ({"sources": {"../s": FILES}}, "the name '../s' becomes a file name"),
        ({"sources": {"s": FILES}}, "source s: files: x.jsonl: no such file"),
        ({"sources": {"s": {"archive": {**ARCHIVE, "sha256": "zz"}}}}, "sha256 is 'zz'; it must be 64 hexadecimal"),
        (
            {"sources": {"s": {"archive": {**ARCHIVE, "package": "a>=1"}}}},
            "package is 'a>=1'; it must be NAME==VERSION",
        ),
        ({"sources": {"s": {"archive": {**ARCHIVE, "file": "f"}}}}, "exactly one of package, file"),
        ({"sources": {"s": {"archive": {"package": "a==1", "member": "x"}}}}, "sha256 is missing"),
        ({"model": {"hub": "name"}}, "model.hub is 'name'; it must be a hub id of the form owner/name"),
        ({"model": {"path": "no/such"}}, "model.path is no/such: no such folder"),
        ({"model": {"path": "a", "revision": "b"}}, "only a hub model has a revision"),
        ({"model": {"archive": ARCHIVE}}, "the model in an archive must be a .gguf file"),
        ({"tasks": {"t": {"kind": "cloze"}}}, "tasks.t.kind is 'cloze'; the kinds are: next_sentence"),
        ({"tasks": {"t": {"kind": "next_sentence", "source": "s"}}}, "needs source"),
        ({"tasks": {"t": {"kind": "next_sentence", "source": "s", "items": 3}}}, "download source s first"),
        ({"tasks": {"t": {"items": 3}}}, "only a task with kind next_sentence has it"),
        ({"tasks": {"t": {"files": {"test": "no.jsonl"}}}}, "tasks.t.files.test: no.jsonl: no such file"),
        ("{model: [", "config CONFIG: cannot be read as YAML"),
        ("{model: {path: a}, model: {path: b}}", "the key model is given twice"),
        ("missing.yaml", "config missing.yaml: no such file"),
    ],
)
def test_mistake(download, config, message):
    status, out, said = download(config)
    assert status == 2
    assert message in said
    assert said.count("\n") == 1
    assert not [p for p in out.rglob("*") if p.is_file()]


def test_wrong_column_names_those_there(download, tmp_path):
    (tmp_path / "a.jsonl").write_text(jsonl([prose(0)], key="body"))
    status, _, said = download({"sources": {"s": {"files": [str(tmp_path / "a.jsonl")]}}})
    assert status == 2
    assert said.startswith("calibrant download: source s: ")
    assert said.endswith("a.jsonl: line 1 has no column 'text' (text_key); there are body\n")


def test_nothing_left_says_why(download, tmp_path):
    (tmp_path / "a.jsonl").write_text(jsonl(["Yes.", "No."]))
    status, out, said = download({"sources": {"s": {"files": [str(tmp_path / "a.jsonl")], "min_characters": 50}}})
    assert status == 2
    assert "no document is left (read 2, dropped 2 (too_short 2), kept 0)" in said
    assert not list(out.rglob("*.parquet"))


def test_only_of_what_is_not_there(download):
    status, _, said = download({"sources": {"s": FILES}}, "--only", "source:t")
    assert status == 2
    assert "--only source:t: not in the configuration; it has source:s" in said


def test_config_file_and_only(download, tmp_path):
    (tmp_path / "a.jsonl").write_text(jsonl([prose(0)]))
    files = f"files: ['{tmp_path}/a.jsonl']"
    (tmp_path / "c.yaml").write_text(f"sources:\n  a: {{{files}}}\n  b: {{{files}}}\ntexts:\n  a: {{{files}}}\n")
    status, out, said = download(str(tmp_path / "c.yaml"), "--only", "source:b", "text:a")
    assert status == 0
    assert [line.split(":")[1] for line in said.splitlines()] == ["b", "a"]
    assert not (out / "sources/a").exists()
