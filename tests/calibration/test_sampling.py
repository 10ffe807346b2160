"""Windows: counts, lengths, no overlap, where they come from, and that the seed decides them."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from support import make_text

from calibrant.calibration.documents import Documents
from calibrant.calibration.draws import generator
from calibrant.calibration.sample_set import read_calibration_set
from calibrant.calibration.tokens import encode, special_ids
from calibrant.calibration.windows import (
    sample_documents,
    sample_single,
    sample_stream,
    window_offsets,
)
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint_files import tokenizer_sha256
from calibrant.models.checkpoint.loading import load_tokenizer


def make_documents(count: int = 30, words: int = 80) -> Documents:
    texts = [make_text(words + 7 * i, i) for i in range(count)]
    return Documents([f"d{i}" for i in range(count)], texts, "tiny", "0" * 64)


def run_stage(documents: Path, model: Path, output: Path, **options: object) -> int:
    command = ["sample", "--documents", str(documents), "--model", str(model), "--output", str(output)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return main(command)


@given(st.integers(1, 8), st.integers(1, 9), st.integers(0, 40), st.integers(0, 2**32))
def test_offsets_fit_and_do_not_overlap(n: int, length: int, free: int, seed: int) -> None:
    offsets = sorted(window_offsets(n * length + free, n, length, generator(seed)).tolist())
    assert len(offsets) == n
    assert offsets[0] >= 0
    assert offsets[-1] + length <= n * length + free
    assert all(b - a >= length for a, b in pairwise(offsets))


def test_offsets_are_uniform_over_all_arrangements() -> None:
    rng = generator(1)
    drawn = Counter(tuple(sorted(window_offsets(9, 2, 3, rng).tolist())) for _ in range(4000))
    arrangements = [(a, b) for a in range(7) for b in range(a + 3, 7)]
    assert set(drawn) == set(arrangements)
    assert chisquare([drawn[a] for a in arrangements]).pvalue > 1e-4


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(1, 3), st.integers(1, 5), st.integers(0, 999))
def test_stream_windows_are_cut_from_the_joined_documents(lengths: list[int], n: int, length: int, seed: int) -> None:
    encoded = [(i, [100 * i + j for j in range(size)]) for i, size in enumerate(lengths)]
    separator = [-1, -2]
    stream: list[int] = []
    for _, ids in encoded:
        if ids:
            stream += (separator if stream else []) + ids
    if len(stream) < n * length:
        with pytest.raises(InputError, match=f"{len(stream):,} tokens in"):
            sample_stream(encoded, separator, n, length, generator(seed))
        return
    windows = sample_stream(encoded, separator, n, length, generator(seed))
    assert len(windows) == n
    for window in windows:
        assert len(window.ids) == length
        assert any(window.ids == stream[i : i + length] for i in range(len(stream)))
        assert window.documents == list(dict.fromkeys(i // 100 for i in window.ids if i >= 0))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 4), st.integers(2, 6), st.integers(0, 999))
def test_single_document_windows(lengths: list[int], n: int, length: int, seed: int) -> None:
    encoded = [(i, [100 * i + j for j in range(size)]) for i, size in enumerate(lengths)]
    long = [i for i, size in enumerate(lengths) if size >= length]
    if len(long) < n:
        with pytest.raises(InputError, match=f"{len(long)} of {len(lengths)} documents have {length} tokens"):
            sample_single(encoded, n, length, generator(seed))
        return
    windows = sample_single(encoded, n, length, generator(seed))
    assert [w.documents for w in windows] == [[i] for i in long[:n]]
    for window in windows:
        start = window.ids[0]
        assert window.ids == list(range(start, start + length))


def test_sets_of_one_pool_are_what_they_were() -> None:
    """Drawn by the code before there were blocks: the presets of the paper's models draw so."""
    encoded = [(i, [100 * i + j for j in range(size)]) for i, size in enumerate([12, 30, 7, 25])]
    stream = sample_stream(encoded, [-1, -2], 4, 5, generator(3))
    assert [(w.ids[0], w.documents) for w in stream] == [(306, [3]), (101, [1]), (5, [0]), (109, [1])]
    single = sample_single(encoded, 3, 5, generator(3))
    assert [(w.ids[0], w.documents) for w in single] == [(6, [0]), (102, [1]), (200, [2])]


@pytest.mark.parametrize("packing", ["stream", "document"])
def test_a_set_depends_on_its_seed_alone(tiny_model_dir: Path, packing: str) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    documents = make_documents()
    draws = [
        sample_documents(documents, tokenizer, "hash", samples=6, length=48, seed=seed, packing=packing)
        for seed in (3, 3, 4)
    ]
    assert draws[0] == draws[1]
    assert draws[0]["input_ids"] != draws[2]["input_ids"]
    for row in draws[0].to_pylist():
        assert len(row["input_ids"]) == 48
        assert not set(row["input_ids"]) & set(special_ids(tokenizer))
        texts = "\n\n".join(documents.texts[int(name[1:])] for name in row["doc_ids"])
        assert row["text"].strip() in texts


def test_a_text_cannot_spell_a_special_token(tiny_model_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    assert tokenizer("a</s>b", add_special_tokens=False)["input_ids"].count(2) == 1
    ids = encode(tokenizer, ["a</s>b<s>"])[0]
    assert not set(ids) & set(special_ids(tokenizer))
    assert tokenizer.decode(ids) == "a</s>b<s>"


def test_stage_writes_a_described_set(tiny_model_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "corpus.txt"
    source.write_text("\n\n".join(make_text(60, i) for i in range(20)))
    outputs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for output in outputs:
        assert run_stage(source, tiny_model_dir, output, samples=5, length=32, seed=2) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    samples = read_calibration_set(outputs[0])
    assert samples.input_ids.shape == (5, 32)
    assert samples.metadata["settings"] == {
        "samples": 5,
        "length": 32,
        "packing": "stream",
        "separator": "\n\n",
        "bos": False,
        "sets": "blocks",
    }
    assert samples.metadata["tokenizer_sha256"] == tokenizer_sha256(tiny_model_dir)
    assert samples.table["origin"].to_pylist() == ["real"] * 5
    assert str(tmp_path).encode() not in outputs[0].read_bytes()


def test_too_little_text_says_how_much(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "corpus.txt"
    source.write_text("a few words")
    status = run_stage(source, tiny_model_dir, tmp_path / "x.parquet", samples=128, length=64)
    message = capsys.readouterr().err
    assert status == 2
    assert "128 samples of 64 tokens need 8,192" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "x.parquet").exists()


def test_rows_that_are_tokens_already_are_packed_without_retokenising(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Generated rows of different lengths, one with a leading document start, become windows of their own tokens."""
    tokenizer = load_tokenizer(tiny_model_dir)
    rng = np.random.default_rng(0)
    rows = [[1, *rng.integers(3, 300, size).tolist()] for size in (30, 20, 25, 40)]
    documents = Documents(
        [str(i) for i in range(4)],
        ["unused"] * 4,
        "tiny",
        "0" * 64,
        origin="synthetic",
        token_ids=rows,
        tokenizer_sha256="same",
    )
    table = sample_documents(documents, tokenizer, "same", samples=4, length=16, seed=0)
    separator = encode(tokenizer, ["\n\n"])[0]
    own = {i for row in rows for i in row[1:]} | set(separator)
    for row in table.to_pylist():
        assert set(row["input_ids"]) <= own
        assert 1 not in row["input_ids"]
        assert row["origin"] == "synthetic"
    with pytest.raises(InputError, match="tokenised with tokenizer"):
        sample_documents(documents, tokenizer, "other", samples=4, length=16, seed=0)


def test_real_text(shared_dir: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    source = shared_dir / "realdata" / "corpora" / "wikipedia_en.jsonl.gz"
    output = tmp_path / "wiki.parquet"
    assert run_stage(source, tiny_model_dir, output, samples=4, length=128, packing="document") == 0
    assert pq.read_table(output).num_rows == 4
