"""Similarity and contamination in every script: by sets, however accents are written, and never of nothing."""

import itertools
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.artefacts.parquet import read_table
from calibrant.calibration.documents import Documents
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.scoring.corpus_similarity import similarity_rows
from calibrant.scoring.item_contamination import Items, compare_items
from calibrant.scoring.shingles import Corpus, common_unit, fitting_unit, read_corpus, splitter

ALPHABETS = {
    "Latin": "abcdeéüñßÅ",
    "Greek": "αβγδάώΣς",
    "Cyrillic": "абвгдйё",
    "Arabic": "ابتثجد",
    "Korean": "가나다라마각",
    "Chinese": "的一是不了人我在有他",
    "Japanese": "あいうえおがぎアイウ日本",
    "Thai": "กขคงจาิีุู",
    "Khmer": "កខគឃងាិី",
}
UNSPACED = ("Chinese", "Japanese", "Thai", "Khmer")


def documents(texts: list[str], source: str = "s") -> Documents:
    return Documents([f"{source}-{i}" for i in range(len(texts))], texts, source, "0" * 64)


def written(script: str, seed: int, count: int = 20, letters: int = 300) -> list[str]:
    """Documents of random words in a script, which has spaces between them or not."""
    rng = np.random.default_rng([seed, *script.encode()])
    texts = []
    for _ in range(count):
        lengths = rng.integers(2, 6, letters // 3)
        words = ["".join(rng.choice(list(ALPHABETS[script]), length)) for length in lengths]
        joined = ("" if script in UNSPACED else " ").join(words)
        texts.append(joined[:letters])
    return texts


def brute(texts: list[str], unit: str, n: int) -> set[tuple[str, ...]]:
    """The runs of n units of each text, found letter by letter."""
    runs = set()
    for text in texts:
        plain = unicodedata.normalize("NFC", text).casefold()
        units = list(" ".join(plain.split())) if unit == "char" else re.findall(r"\w+(?:['’]\w+)*", plain)
        runs |= {tuple(units[i : i + n]) for i in range(len(units) - n + 1)}
    return runs


PAIRS = st.sampled_from(sorted(ALPHABETS)).flatmap(
    lambda script: st.tuples(
        *[st.lists(st.text(ALPHABETS[script] + "  .\n", min_size=1, max_size=40), min_size=1, max_size=4)] * 2
    )
)


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from(["auto", "word", "char"]), st.integers(1, 3))
def test_similarity_is_that_of_sets_or_an_error_that_names_what_works(
    pair: tuple[list[str], list[str]], asked: str, n: int
) -> None:
    unit = common_unit(asked, pair)
    # Written with composed and with decomposed accents, which says the same.
    ours = [unicodedata.normalize("NFD", text) for text in pair[0]]
    corpora = [read_corpus(documents(texts, name), splitter(unit)) for texts, name in ((ours, "a"), (pair[1], "b"))]
    whole = [Corpus(c.source, ["0"], c.units, c.sha256, c.characters) for c in corpora]
    a, b = (brute(texts, unit, n) for texts in pair)
    if not a or not b:
        with pytest.raises(InputError, match="nothing to compare") as caught:
            similarity_rows(whole[0], [whole[1]], unit=unit, n=n)
        hint = re.search(r"; use (.*)$", str(caught.value))
        assert hint is not None
        empty = pair[0] if not a else pair[1]
        for words in hint[1].split(" or ") if hint[1] != "longer documents" else []:
            options = two_by_two(words)
            assert brute(empty, options.get("--shingle", unit), int(options.get("--n", n)))
        return
    smallest = min(c.amount for c in corpora)
    if all(c.amount == smallest for c in corpora):
        (row,) = similarity_rows(whole[0], [whole[1]], unit=unit, n=n)
        assert row["exact"] == len(a & b) / len(a | b)
        assert abs(row["jaccard"] - row["exact"]) < 5 * row["stderr"] + 1e-9


def two_by_two(words: str) -> dict[str, str]:
    parts = words.split()
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("script", ALPHABETS)
def test_the_unit_follows_the_script(script: str) -> None:
    unit = "char" if script in UNSPACED else "word"
    assert fitting_unit(written(script, 0)) == unit
    english = ["a river runs through the old town and on to the sea"] * 20
    assert common_unit("auto", [english, written(script, 0)]) == unit
    assert common_unit("word", [written(script, 0)]) == "word"
    mixed = [f"{text} {text} {word}" for text, word in zip(english, itertools.repeat(written(script, 0)[0][:4]))]
    assert fitting_unit(mixed) == "word"


@pytest.mark.parametrize("script", UNSPACED)
def test_unlike_corpora_without_spaces_are_unlike(tmp_path: Path, script: str) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        rows = [{"text": text} for text in written(script, seed)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = [str(tmp_path / f"{name}.jsonl") for name in "abc"]
    output = tmp_path / "table.parquet"
    assert main(["similarity", "--reference", *paths, paths[0], "--n", "9", "--output", str(output)]) == 0
    table, metadata = read_table(output)
    assert table["unit"].to_pylist() == ["char"] * 3
    assert metadata["settings"]["shingle"] == "char"
    assert table["exact"].to_pylist() == [pytest.approx(0, abs=0.01), pytest.approx(0, abs=0.01), 1]
    assert max(table["jaccard"].to_pylist()[:2]) < 0.01


def test_corpora_of_short_documents_are_no_corpora(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in (("a", ("red house", "blue")), ("b", ("green tree", "white"))):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in words))
    command = ["similarity", "--reference", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    output = ["--output", str(tmp_path / "t.parquet")]
    assert main([*command, *output]) == 2
    said = capsys.readouterr().err
    assert "no document of a has 3 words in a row" in said
    assert "use --n 2 or --shingle char" in said
    assert not (tmp_path / "t.parquet").exists()
    for words in (["--n", "2"], ["--shingle", "char"]):
        assert main([*command, *words, *output]) == 0
    assert main([*command, "--n", "2", "--amount", "1", *output]) == 2
    assert "use a larger --amount or a smaller --n" in capsys.readouterr().err
    assert main([*command, "--n", "9" * 30, *output]) == 2


def test_english_numbers_are_those_of_before() -> None:
    rng = np.random.default_rng(7)
    texts = [[" ".join(f"Wörd{i}" for i in rng.integers(12, size=90)) for _ in range(9)] for _ in range(2)]
    a, b = (read_corpus(documents(each, name), splitter("word")) for each, name in zip(texts, "ab", strict=True))
    (row,) = similarity_rows(a, [b], unit="word", seed=3)
    assert (row["shingles"], row["jaccard"], row["exact"]) == (639, 0.188720703125, 0.19924812030075187)


def test_items_of_any_script_are_found_in_their_own_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {script: written(script, 1) for script in ("Latin", "Chinese", "Thai")}
    texts = [text for each in sources.values() for text in each]
    evaluations = [
        Items(script, "task", ["in", "out"], [[unicodedata.normalize("NFD", each[3][50:150])], [written(script, 2)[0]]])
        for script, each in sources.items()
    ]
    rows = compare_items(documents(texts), evaluations)
    assert [(row["evaluation"], row["item"], row["unit"], row["n"]) for row in rows] == [
        ("Latin", "in", "word", 8), ("Latin", "out", "word", 8), ("Chinese", "in", "char", 16),
        ("Chinese", "out", "char", 16), ("Thai", "in", "char", 16), ("Thai", "out", "char", 16)
    ]  # fmt: skip
    assert all((row["share"] > 0.7) is (row["item"] == "in") for row in rows)
    for unit in ("word", "char"):
        assert {row["unit"] for row in compare_items(documents(texts), evaluations, unit)} == {unit}


def test_contamination_of_nothing_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "web.txt").write_text("one two three four five six seven eight nine ten")
    (tmp_path / "short.txt").write_text("one two three")
    (tmp_path / "mixed.jsonl").write_text('{"text": "one two"}\n{"text": "two three four five six seven eight nine"}\n')
    command = ["contamination", str(tmp_path / "web.txt"), "--output", str(tmp_path / "t.parquet"), "--text"]
    assert main([*command, str(tmp_path / "short.txt")]) == 2
    assert "none of 1 items has 8 words in a row" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "mixed.jsonl")]) == 0
    assert "mixed: 1 of 2 items are too short to be compared" in capsys.readouterr().out
    command[1] = str(tmp_path / "short.txt")
    assert main([*command, str(tmp_path / "mixed.jsonl")]) == 2
    assert "no document of short has 8 words in a row" in capsys.readouterr().err
