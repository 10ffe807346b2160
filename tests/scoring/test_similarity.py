import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.artefacts.parquet import read_table
from calibrant.calibration.documents import read_documents
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models.checkpoint.loading import load_tokenizer
from calibrant.scoring.corpus_similarity import (
    SCALE_NOTE,
    common_amount,
    exact_jaccard,
    signature,
    similarity_rows,
    standard_error,
)
from calibrant.scoring.near_duplicates import contained, near_duplicates
from calibrant.scoring.shingles import Corpus, corpus_shingles, read_corpus, shingles, splitter


def corpus(name: str, texts: list[str], unit: str = "word") -> Corpus:
    return Corpus(name, [f"{name}-{i}" for i in range(len(texts))], splitter(unit)(texts), "0" * 64)


def random_texts(seed: int, documents: int = 40, words: int = 60, vocabulary: int = 30) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(vocabulary, size=words)) for _ in range(documents)]


def grams(texts: list[list[bytes]], n: int) -> set[tuple[bytes, ...]]:
    return {tuple(units[i : i + n]) for units in texts for i in range(len(units) - n + 1)}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_tokens_and_characters(tiny_model_dir: Path) -> None:
    text = "Don't  stop, the Straße's 2 cafés!\n"
    assert splitter("word")([text])[0] == [w.encode() for w in ("don't", "stop", "the", "strasse's", "2", "cafés")]
    assert b"".join(splitter("char")([text])[0]).decode() == "don't stop, the strasse's 2 cafés!"
    tokenizer = load_tokenizer(tiny_model_dir)
    ids = tokenizer(text)["input_ids"]
    assert splitter("token", tokenizer)([text])[0] == [str(i).encode() for i in ids]
    # a special token that a document spells out is text
    assert str(tokenizer.eos_token_id).encode() not in splitter("token", tokenizer)(["a</s>b"])[0]


def test_unknown_units() -> None:
    assert "--shingle wrod: unknown; use word, token, char" in refusal(lambda: splitter("wrod"))
    assert "give --model MODEL" in refusal(lambda: splitter("token"))


UNITS = st.lists(st.sampled_from([b"a", b"b", b"c", b"ab"]), max_size=30)


@settings(max_examples=200, deadline=None)
@given(UNITS, UNITS, st.integers(1, 4))
def test_exact_jaccard_is_that_of_the_sets(a: list[bytes], b: list[bytes], n: int) -> None:
    first, second = grams([a], n), grams([b], n)
    hashed = shingles(a, n), shingles(b, n)
    assert (len(hashed[0]), len(hashed[1])) == (len(first), len(second))
    union = first | second
    assert exact_jaccard(*hashed) == (len(first & second) / len(union) if union else 0.0)


def test_shingles_do_not_cross_documents_nor_confuse_words() -> None:
    hashes, documents = corpus_shingles(corpus("a", ["one two three", "four five six"]), 3, 6, 0)
    assert (len(hashes), documents) == (2, 2)
    assert exact_jaccard(shingles([b"ab", b"c"], 2), shingles([b"a", b"bc"], 2)) == 0


@pytest.mark.parametrize("amount", [1, 59, 60, 61, 500, 2400])
def test_exactly_the_amount_is_taken(amount: int) -> None:
    source = corpus("a", random_texts(0))
    hashes, documents = corpus_shingles(source, 1, amount, seed=3)
    assert documents == -(-amount // 60)
    order = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3]))).permutation(40)
    taken = list(itertools.chain.from_iterable(source.units[i] for i in order))[:amount]
    assert len(hashes) == len(set(taken))


def test_equal_amounts_are_those_of_the_smallest() -> None:
    small, large = corpus("small", ["a b c d e"]), corpus("large", random_texts(0))
    assert common_amount([large, small]) == 5
    assert common_amount([large, small], 4) == 4
    assert "--amount 6: small has 5 units; use 1 to 5" in refusal(lambda: common_amount([large, small], 6))
    [row] = similarity_rows(large, [small], unit="word", seed=1)
    assert (row["amount"], row["documents"], row["reference_documents"]) == (5, 1, 1)


def test_identical_and_disjoint_corpora() -> None:
    source = corpus("a", random_texts(0))
    other = corpus("b", [text.replace("w", "v") for text in random_texts(0)])
    same, none = similarity_rows(source, [source, other], unit="word")
    assert (same["jaccard"], same["exact"]) == (1.0, 1.0)
    assert (none["jaccard"], none["exact"]) == (0.0, 0.0)
    assert 0 < none["stderr"] < 0.001  # no estimate is certain
    assert 0 < same["stderr"] < 0.001


@pytest.mark.parametrize("shared", [40, 400, 2000])
def test_estimates_agree_with_the_exact_value_within_their_error(shared: int) -> None:
    """Over seeds, errors in units of the stated standard error have mean 0 and deviation 1."""
    rng = np.random.default_rng(shared)
    pool = np.unique(rng.integers(2**64, size=6000, dtype=np.uint64))
    rng.shuffle(pool)
    a, b = np.sort(pool[:3000]), np.sort(np.concatenate([pool[:shared], pool[3000 : 6000 - shared]]))
    exact = exact_jaccard(a, b)
    errors = []
    for seed in range(12):
        estimate = signature(a, 512, seed).jaccard(signature(b, 512, seed))
        errors.append((estimate - exact) / standard_error(exact, 512))
    assert abs(np.mean(errors)) < 4 / np.sqrt(12)
    assert 0.4 < np.std(errors) < 1.7


def test_estimates_agree_with_exact_jaccard_on_real_corpora(shared_dir: Path) -> None:
    folder = shared_dir / "realdata" / "corpora"
    split = splitter("word")
    corpora = [
        read_corpus(read_documents(folder / f"{name}.jsonl.gz"), split)
        for name in ("c4_en", "dclm_refinedweb", "wikipedia_en")
    ]
    rows = similarity_rows(corpora[0], corpora[1:], unit="word", amount=15000)
    for row, other in zip(rows, corpora[1:], strict=True):
        sets = []
        for source in (corpora[0], other):
            order = np.random.Generator(np.random.PCG64(np.random.SeedSequence([0]))).permutation(len(source.units))
            left, found = 15000, set()
            for i in order:
                found |= grams([source.units[i][:left]], 3)
                left = max(0, left - len(source.units[i]))
            sets.append(found)
        exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        assert row["exact"] == pytest.approx(exact, abs=1e-12)
        assert 0.001 < exact < 0.1
        assert abs(row["jaccard"] - exact) < 4 * standard_error(exact, 4096)
        assert row["stderr"] < 0.003


def test_near_duplicates_are_found_and_no_others() -> None:
    texts = random_texts(0, vocabulary=500)
    words = texts[7].split()
    words[30] = "changed"
    planted = [*random_texts(1, vocabulary=500), " ".join(words), texts[3]]
    rows = near_duplicates([corpus("a", texts), corpus("b", planted)], threshold=0.8)
    assert [(r["source"], r["doc_id"], r["other_source"], r["other_doc_id"]) for r in rows] == [
        ("a", "a-3", "b", "b-41"),
        ("a", "a-7", "b", "b-40"),
    ]
    assert rows[0]["jaccard"] == 1.0
    assert rows[1]["jaccard"] == pytest.approx(55 / 61)  # three of 58 shingles changed on either side
    assert near_duplicates([corpus("a", [*texts, texts[0], "too short"])], threshold=0.8) == []  # within one corpus


def test_items_inside_long_documents_are_found_by_containment() -> None:
    texts = random_texts(0, words=2000, vocabulary=5000)
    item = " ".join(texts[4].split()[100:130])
    half = " ".join(texts[5].split()[100:116]) + " " + " ".join(f"x{i}" for i in range(14))
    items = corpus("items", [item, half, random_texts(9, 1, 30, 5000)[0], "too short"])
    reference = corpus("reference", texts)
    rows = contained(reference, [items])
    assert [r["doc_id"] for r in rows] == ["items-0", "items-1", "items-2"]
    assert [r["contained"] for r in rows] == [1.0, pytest.approx(14 / 28), 0.0]
    assert near_duplicates([reference, items], threshold=0.2) == []  # Jaccard similarity does not see them


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for seed, name in enumerate(("alpha", "beta", "gamma")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": t}) + "\n" for t in random_texts(seed, 20)))
        paths.append(str(path))
    return paths


def test_command(tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str], tiny_model_dir: Path) -> None:
    output = tmp_path / "out" / "table.parquet"
    arguments = ["similarity", "--reference", *files, "--seed", "4"]
    extra = ["--duplicates", str(tmp_path / "pairs.parquet"), "--contained", str(tmp_path / "contained.parquet")]
    assert main([*arguments, *extra, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("alpha ~ beta: 0.")
    assert printed.count("\n") == 2
    table, metadata = read_table(output)
    assert table["source"].to_pylist() == ["beta", "gamma"]
    assert table["amount"].to_pylist() == [1200, 1200]
    assert metadata["seed"] == 4
    assert str(tmp_path) not in json.dumps(metadata)
    assert pq.read_table(tmp_path / "pairs.parquet").num_rows == 0
    assert pq.read_table(tmp_path / "contained.parquet").num_rows == 40

    again = tmp_path / "again.parquet"
    assert main([*arguments, "--output", str(again)]) == 0
    assert again.read_bytes() == output.read_bytes()

    tokens = [*arguments, "--shingle", "token", "--output", str(again)]
    capsys.readouterr()
    assert main(tokens) == 2
    assert "needs a tokenizer; give --model MODEL" in capsys.readouterr().err
    assert main([*tokens, "--model", str(tiny_model_dir)]) == 0
    assert read_table(again)[1]["tokenizer_sha256"]
    assert read_table(again)[0]["unit"].to_pylist() == ["token", "token"]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--shingle", "sentence"], "use auto, word, token or char"),
        (["--amount", "99999"], "has 1200 units; use 1 to 1200"),
        (["--permutations", "128"], "must be 4096 to 65536; fewer are too few"),
        (["--seed", "-1"], "--seed -1: must be 0 to 4294967295"),
        (["--duplicates", "pairs.json"], "--duplicates pairs.json"),
        (["--duplicates", "pairs.parquet", "--threshold", "0"], "--threshold 0: must be above 0"),
        (["--n", "0"], "--n 0: must be at least 1"),
    ],
)
def test_command_refuses(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str], extra: list[str], words: str
) -> None:
    output = tmp_path / "table.parquet"
    assert main(["similarity", "--reference", *files[:2], "--output", str(output), *extra]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not output.exists()


def test_what_corpora_share_depends_on_the_amount_of_text_and_a_note_says_so() -> None:
    """Two corpora of one vocabulary: the more of each, the larger the share of 3-grams that both have."""
    pair = [corpus(name, random_texts(seed, documents=200)) for name, seed in (("a", 1), ("b", 2))]
    rows = [similarity_rows(pair[0], pair[1:], unit="word", amount=amount)[0] for amount in (500, 2000, 8000)]
    shared = [row["exact"] for row in rows]
    assert shared == sorted(set(shared))
    assert "amount" in SCALE_NOTE
    assert not any(letter.isdigit() for letter in SCALE_NOTE)
