"""Evaluation items in calibration text: planted ones, a count by sets of tuples, and real text."""

import json
import random
from pathlib import Path

import pytest

from calibrant.artefacts.parquet import read_table
from calibrant.calibration.documents import read_documents
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.evaluation.evaluated_items import strings
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.scoring.item_contamination import THRESHOLD, Items, contamination
from calibrant.scoring.shingles import Corpus, read_corpus, splitter
from calibrant.settings.text_settings import ContaminationSettings


def words(count: int, seed: int, vocabulary: int = 400) -> list[str]:
    drawn = random.Random(seed)
    return [f"w{drawn.randrange(vocabulary)}" for _ in range(count)]


def corpus(texts: list[str]) -> Corpus:
    return Corpus("web", [f"web-{i}" for i in range(len(texts))], splitter("word")(texts), "0" * 64)


def test_planted_items_are_found_and_others_are_not() -> None:
    items = [" ".join(words(40, 100 + i)) for i in range(5)]
    documents = [" ".join(words(300, i)) for i in range(6)]
    documents[2] = " ".join([*words(50, 7), *items[1].upper().split(), *words(50, 8)])  # word for word, in capitals
    half = items[3].split()
    documents[4] = " ".join([*words(50, 9), *half[:24], *words(50, 10)])  # 17 of 33 runs of eight words
    documents[5] = " ".join(items[4].split()[10:30])  # a document that is part of the item: 13 of its own 13
    tasks = Items("quiz", "task", [f"quiz {i}" for i in range(5)], [[text] for text in items])
    rows = contamination(corpus(documents), [tasks])
    assert [(row["item"], row["doc_id"], row["shared"]) for row in rows if row["shared"]] == [
        ("quiz 1", "web-2", 33), ("quiz 3", "web-4", 17), ("quiz 4", "web-5", 13)
    ]  # fmt: skip
    assert [row["share"] for row in rows] == [0, 1, 0, pytest.approx(17 / 33), 1]
    assert all(row["shingles"] == 33 for row in rows)


def test_shares_are_those_of_sets_of_tuples() -> None:
    def runs(text: str, n: int) -> set[tuple[str, ...]]:
        units = text.split()
        return {tuple(units[i : i + n]) for i in range(len(units) - n + 1)}

    texts = [[" ".join(words(12, 50 + i, 6)), " ".join(words(5, 90 + i, 6))] for i in range(30)]
    documents = [" ".join(words(30 + i, i, 6)) for i in range(20)]
    found = contamination(corpus(documents), [Items("t", "text", [str(i) for i in range(30)], texts)], n=3)
    for row, parts in zip(found, texts, strict=True):
        own = set().union(*(runs(part, 3) for part in parts))
        shares = [(len(own & runs(d, 3)) / min(len(own), len(runs(d, 3))), len(own & runs(d, 3))) for d in documents]
        assert row["shingles"] == len(own)
        assert (row["share"], row["shared"]) == max(shares)
        assert row["doc_id"] == f"web-{shares.index(max(shares))}"
    assert max(row["share"] for row in found) > min(row["share"] for row in found) > 0


def test_items_that_are_too_short_are_not_compared() -> None:
    short = Items("quiz", "task", ["a", "b"], [["one two three"], ["one two three four five six seven", "eight"]])
    assert [(row["share"], row["shingles"]) for row in contamination(corpus(["one two three"]), [short])] == [
        (None, 0), (None, 0)
    ]  # fmt: skip
    with pytest.raises(InputError, match="--n 0"):
        ContaminationSettings(n=0)
    with pytest.raises(InputError, match="--threshold 2"):
        ContaminationSettings(threshold=2)
    assert list(strings({"q": "a", "c": {"text": ["b", "c"], "label": 1}})) == ["a", "b", "c"]


def test_the_command_reads_tasks_and_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted, other = " ".join(words(30, 1)), " ".join(words(30, 2))
    rows = [{"context": text, "choices": ["yes", "no"], "label": 0} for text in (other, planted, planted)]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "quiz_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "web.jsonl").write_text(json.dumps({"id": "d", "text": f"{' '.join(words(60, 3))} {planted}"}) + "\n")
    (tmp_path / "tale.txt").write_text(f"{planted}\n\n{other}\n")
    base = ["contamination", str(tmp_path / "web.jsonl"), "--text", str(tmp_path / "tale.txt"), "--tasks", "quiz",
            "--data", str(tmp_path / "rows"), "--limit", "2", "--paragraphs", "--output"]  # fmt: skip
    assert main([*base, str(tmp_path / "out.parquet")]) == 0
    printed = capsys.readouterr().out
    assert "quiz: quiz 1 shares 1.00 with d of web" in printed
    assert "2 of 4 pairs" in printed
    table, metadata = read_table(tmp_path / "out.parquet")
    assert [(r["evaluation"], r["kind"], r["share"]) for r in table.to_pylist()] == [
        ("quiz", "task", 0), ("quiz", "task", 1), ("tale", "text", 1), ("tale", "text", 0)
    ]  # fmt: skip
    assert set(metadata["inputs"]) == {"sources", "data/quiz_test.jsonl", "texts/tale"}
    # A task with five examples, whose rows are not there: an item is compared without them.
    subject = {"question": planted, "subject": "anatomy", "choices": list("pqrs"), "answer": 1}
    (tmp_path / "rows" / "mmlu_anatomy_test.jsonl").write_text(json.dumps(subject) + "\n")
    assert main([*["mmlu_anatomy" if word == "quiz" else word for word in base], str(tmp_path / "mmlu.parquet")]) == 0
    assert "mmlu_anatomy: mmlu_anatomy 0 shares 1.00 with d of web" in capsys.readouterr().out
    assert main([*base, str(tmp_path / "out.csv")]) == 2
    assert main([base[0], base[1], "--output", str(tmp_path / "x.parquet")]) == 2
    assert "give --tasks or --text" in capsys.readouterr().err


def test_boolq_passages_that_are_in_wikipedia(shared_dir: Path) -> None:
    """Three passages are of articles that the corpus has in another revision; no other comes near them."""
    path = shared_dir / "realdata" / "eval" / "boolq_validation.jsonl.gz"
    if not path.is_file():
        pytest.skip("no shared/realdata beside the checkout")
    rows = RowFolder(path.parent).read(path)
    items = Items("boolq", "task", [str(i) for i in range(len(rows))], [list(strings(row)) for row in rows])
    documents = read_documents(shared_dir / "realdata" / "corpora" / "wikipedia_en.jsonl.gz", source="wikipedia")
    compared = contamination(read_corpus(documents, splitter("word")), [items])
    found = sorted((r for r in compared if (r["share"] or 0) >= THRESHOLD), key=lambda r: -r["share"])
    texts = dict(zip(documents.ids, documents.texts, strict=True))
    titles = [rows[int(r["item"])]["passage"].split(" -- ")[0] for r in found]
    assert sorted(titles) == ["Alaska", "Articles of Confederation", "Atomic number"]
    for row, title in zip(found, titles, strict=True):
        assert texts[row["doc_id"]].casefold().count(title.casefold())
    assert max(r["share"] for r in compared if (r["share"] or 0) < THRESHOLD) < 0.1
