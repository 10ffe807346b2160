"""Task rows: next-sentence items that are right and fair, and published rows that are copied unchanged."""

import gzip
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_helpers import SENTENCES, prose

from calibrant.errors import InputError
from calibrant.sources.next_sentence import MOST_CONTEXT_WORDS, RELAXED, build_items
from calibrant.sources.sentences import split_sentences

DOCUMENTS = {f"d{i}": prose(i) for i in range(40)}


def check(items, documents):
    for item in items:
        sentences = split_sentences(documents[item["doc_id"]])
        true = item["choices"][item["label"]]
        place = sentences.index(true)
        assert " ".join(sentences[:place]).endswith(item["context"])  # the context is what comes right before
        assert RELAXED.context_words <= len(item["context"].split()) <= MOST_CONTEXT_WORDS
        assert len(set(item["choices"])) == 4
        for choice in item["choices"]:
            assert choice not in item["context"]
            assert 5 <= len(choice.split()) <= 40
            assert 1 / 2.5 <= len(choice.split()) / len(true.split()) <= 2.5
            assert sentences.index(choice) >= place  # from the same document, later


def test_items_are_right_and_balanced():
    items, relaxed = build_items(DOCUMENTS.items(), 32, seed=0)
    assert relaxed == 0
    check(items, DOCUMENTS)
    assert Counter(item["label"] for item in items) == {0: 8, 1: 8, 2: 8, 3: 8}
    assert len({item["doc_id"] for item in items}) == 32
    for item in items:  # strict: the sentence after the true one is no distractor
        sentences = split_sentences(DOCUMENTS[item["doc_id"]])
        neighbour = sentences[sentences.index(item["choices"][item["label"]]) + 1]
        assert neighbour not in item["choices"]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_items_from_any_documents(data):
    sentence = st.sampled_from([*SENTENCES, "Yes.", "It was", "Nobody knew why it had been so quiet."])
    documents = {f"d{i}": " ".join(data.draw(st.lists(sentence, max_size=14))) for i in range(12)}
    count = data.draw(st.integers(1, 12))
    seed = data.draw(st.integers(0, 5))
    try:
        items, _ = build_items(documents.items(), count, seed)
    except InputError as error:
        possible = int(str(error).split("only ")[1].split()[0])
        assert possible < count
        return
    assert len(items) == count
    for item in items:
        assert len(set(item["choices"])) == 4
        assert all(choice not in item["context"] for choice in item["choices"])
        assert item["context"] + " " + item["choices"][item["label"]] in documents[item["doc_id"]]
    labels = Counter(item["label"] for item in items)
    assert max(labels.values()) - min(labels[k] for k in range(4)) <= 1


def test_order_of_documents_does_not_matter_but_the_seed_does():
    items, _ = build_items(DOCUMENTS.items(), 10, seed=0)
    assert build_items(reversed(list(DOCUMENTS.items())), 10, seed=0)[0] == items
    assert build_items(DOCUMENTS.items(), 10, seed=1)[0] != items


def test_short_passages_give_relaxed_items():
    documents = {f"d{i}": " ".join(split_sentences(prose(i))[:6]) for i in range(12)}
    items, relaxed = build_items(documents.items(), 12, seed=0)
    assert relaxed == 12
    check(items, documents)


def test_too_few_says_how_many():
    with pytest.raises(
        InputError, match=r"only 40 items can be built from 40 held-out documents .*, 41 were asked for"
    ):
        build_items(DOCUMENTS.items(), 41, seed=0)


def test_task_is_built_from_the_held_out_documents(download, tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps({"text": prose(i)}) + "\n" for i in range(60)))
    config = {
        "sources": {"s": {"files": [str(path)], "heldout": 0.4}},
        "tasks": {"n": {"kind": "next_sentence", "source": "s", "items": 12, "seed": 3}},
    }
    status, out, said = download(config)
    assert status == 0, said
    items = [json.loads(line) for line in (out / "tasks/n_test.jsonl").read_text().splitlines()]
    assert len(items) == 12
    assert set(items[0]) == {"context", "choices", "label", "doc_id"}
    from calibrant.artefacts.parquet import read_table

    held = set(read_table(out / "sources/s/heldout.parquet")[0].column("doc_id").to_pylist())
    assert {item["doc_id"] for item in items} <= held
    config["tasks"]["n"]["items"] = 50
    status, _, said = download(config, "--only", "task:n")
    assert status == 2
    assert "tasks.n: source s: only" in said


def test_published_rows_are_copied_byte_for_byte(download, shared_dir):
    folder = shared_dir / "realdata/eval"
    files = {"validation": str(folder / "piqa_validation.jsonl")}
    packed = {"validation": str(folder / "boolq_validation.jsonl.gz")}
    status, out, said = download({"tasks": {"piqa": {"files": files}, "boolq": {"files": packed}}})
    assert status == 0, said
    for name in ("piqa_validation.jsonl", "boolq_validation.jsonl.gz"):
        assert (out / "tasks" / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads((out / "tasks/piqa.provenance.json").read_text())["files"]["validation"]["rows"] == 1838


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"a": 1}\nnot json\n', "line 2 is not JSON"),
        ("a.jsonl", b"[]\n", "line 1 is list, not an object"),
        ("a.jsonl", b"\n", "has no rows"),
        ("a.csv", b"a\n1\n", "must be JSONL"),
        ("a.jsonl.gz", gzip.compress(b"{}\n", mtime=0)[:15], "perhaps truncated"),
    ],
)
def test_rows_that_are_no_rows(download, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    status, out, said = download({"tasks": {"t": {"files": {"test": str(tmp_path / name)}}}})
    assert status == 2
    assert message in said
    assert not list(out.rglob("*.jsonl*"))


def test_task_left_to_lm_eval(download):
    status, out, _ = download({"tasks": {"piqa": {}}})
    assert status == 0
    assert "when it is evaluated" in (out / "tasks/piqa.provenance.json").read_text()
