"""The generate stage: prefixes, exact rows, resumption after a kill, and the way of early-ended rows into a set."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import make_text

from calibrant.calibration.documents import Documents
from calibrant.calibration.sample_set import GENERATED_SCHEMA, read_calibration_set, read_samples
from calibrant.calibration.tokens import encode, special_ids
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.generation.engines.vllm_engine import installed
from calibrant.generation.generated_rows import Generated
from calibrant.generation.partial_rows import PartialRows
from calibrant.generation.prompts import make_prompts, sample_seed
from calibrant.generation.waves import STOP_BATCHES
from calibrant.models.checkpoint.loading import load_tokenizer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "stories.txt"
    path.write_text("\n\n".join(make_text(40, i) for i in range(12)))
    return path


def stage(corpus: Path, model: Path, output: Path, **options: object) -> list[str]:
    chosen = {"samples": 6, "length": 40, "prefix-length": 4, "batch-size": 3, "threads": 1, **options}
    command = ["generate", "--documents", str(corpus), "--model", str(model), "--output", str(output), "--quiet"]
    command.append("--paragraphs")
    for name, value in chosen.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return command


def documents(texts: list[str]) -> Documents:
    return Documents([f"d{i}" for i in range(len(texts))], texts, "tiny", "0" * 64, path="tiny.txt")


@pytest.mark.parametrize(
    ("prefix_length", "bos"), [(1, "auto"), (4, "auto"), (4, "always"), (1, "always"), (0, "auto"), (0, "always")]
)
def test_prefixes_are_the_first_tokens_of_documents(tiny_model_dir: Path, prefix_length: int, bos: str) -> None:
    """Behind the beginning-of-text token where rows have one; this tokenizer names it and puts none by itself."""
    tokenizer = load_tokenizer(tiny_model_dir)
    texts = [make_text(20, i) for i in range(10)]
    made = make_prompts(
        documents(texts), tokenizer, "hash", samples=10, prefix_length=prefix_length, length=16, seed=1, bos=bos
    )
    leading = [1] if bos == "always" or prefix_length == 0 else []
    own = prefix_length
    for row in made.rows:
        assert list(row.prefix[: len(leading)]) == leading
        assert len(row.prefix) == len(leading) + prefix_length
        assert row.prefix_length == prefix_length
        assert row.total == 16
        if own:
            assert list(row.prefix[len(leading) :]) == encode(tokenizer, [texts[int(row.doc_id[1:])]])[0][:own]
        else:
            assert row.doc_id == ""
    if own:
        assert len({row.doc_id for row in made.rows}) == 10
        assert made.passes == 1
    assert len({row.seed for row in made.rows}) == 10
    assert [row.seed for row in made.rows] == [sample_seed(1, i) for i in range(10)]
    assert all(0 <= row.seed < 2**63 for row in made.rows)


def test_few_documents_are_gone_through_again(tiny_model_dir: Path) -> None:
    texts = [make_text(20, i) for i in range(4)] + ["a"]
    tokenizer = load_tokenizer(tiny_model_dir)
    made = make_prompts(documents(texts), tokenizer, "hash", samples=10, prefix_length=4, length=16, seed=0)
    names = [row.doc_id for row in made.rows]
    assert made.passes == 3
    assert sorted(names[:4]) == sorted(names[4:8]) == ["d0", "d1", "d2", "d3"]  # "a" is too short for the prefix
    assert names[:4] != names[4:8]
    with pytest.raises(InputError, match="none of 1 has the 4 tokens"):
        make_prompts(documents(["a"]), tokenizer, "hash", samples=1, prefix_length=4, length=16, seed=0)
    with pytest.raises(InputError, match="must be above the 16 tokens that are given"):
        make_prompts(documents(texts), tokenizer, "hash", samples=1, prefix_length=16, length=16, seed=0)
    new = make_prompts(
        documents(texts), tokenizer, "h", samples=1, prefix_length=4, length=16, seed=0, length_means="new"
    )
    assert new.rows[0].total == 20


@pytest.mark.parametrize("prefix_length", [0, 1, 4])
def test_suppress_gives_full_rows_without_special_tokens(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, prefix_length: int
) -> None:
    output = tmp_path / "gen.parquet"
    options = {"prefix-length": prefix_length, "temperature": 2.0, "top-k": 0}
    assert main(stage(corpus, tiny_model_dir, output, **options)) == 0
    generated = read_calibration_set(output)
    special = set(special_ids(load_tokenizer(tiny_model_dir)))
    assert generated.table.schema.remove_metadata() == GENERATED_SCHEMA
    assert generated.input_ids.shape == (6, 40)
    for row in generated.table.to_pylist():
        inside = row["input_ids"][1:] if prefix_length == 0 else row["input_ids"]
        assert not special & set(inside)
        assert (row["input_ids"][0] == 1) == (prefix_length == 0)
        assert row["prefix_length"] == prefix_length
        assert (row["origin"], row["source"], row["finish_reason"]) == ("synthetic", "stories", "length")
        assert "<s>" not in row["text"]
    ends = generated.metadata["model_ends"]
    assert ends["rows"] == sum(position is not None for position in ends["first_end"])
    assert ends["share"] == pytest.approx(ends["rows"] / 6, abs=1e-6)
    assert generated.metadata["settings"]["engine"] == "native"
    assert generated.metadata["document_passes"] == (0 if prefix_length == 0 else 1)
    assert not output.with_name("gen.parquet.partial").exists()
    assert str(tmp_path).encode() not in output.read_bytes()


def test_same_inputs_same_bytes_and_any_batch_same_rows(tiny_model_dir: Path, corpus: Path, tmp_path: Path) -> None:
    runs = {"a": {}, "b": {}, "c": {"batch-size": 5}, "d": {"engine": "transformers"}, "e": {"seed": 1}}
    for name, options in runs.items():
        assert main(stage(corpus, tiny_model_dir, tmp_path / f"{name}.parquet", **options)) == 0
    tables = {name: pq.read_table(tmp_path / f"{name}.parquet").replace_schema_metadata(None) for name in runs}
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert tables["a"] == tables["c"] == tables["d"]
    assert tables["a"] != tables["e"]


def test_rows_are_begun_until_they_hold_enough_tokens(tiny_model_dir: Path, corpus: Path, tmp_path: Path) -> None:
    """Whole waves, the same rows that a longer run begins with; a resumed run counts what it finds."""
    options = {"samples": 60, "batch-size": 2, "end-of-text": "stop", "temperature": 3.0, "top-k": 0}
    assert main(stage(corpus, tiny_model_dir, tmp_path / "all.parquet", **options)) == 0
    assert main(stage(corpus, tiny_model_dir, tmp_path / "some.parquet", **options, tokens=700)) == 0
    every, some = (read_samples(tmp_path / f"{name}.parquet") for name in ("all", "some"))
    wave = 2 * STOP_BATCHES
    lengths = [len(row) for row in every.sequences]
    needed = next(n for n in range(wave, 60, wave) if sum(lengths[:n]) >= 700)
    assert 0 < needed < 60
    assert some.sequences == every.sequences[:needed]
    assert some.metadata["settings"]["tokens"] == 700
    assert len(some.metadata["model_ends"]["first_end"]) == needed


@pytest.mark.skipif(installed(), reason="vllm is installed here")
def test_vllm_is_refused_where_it_is_not_installed(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(stage(corpus, tiny_model_dir, tmp_path / "gen.parquet", engine="vllm")) == 2
    assert "--engine vllm: the package vllm is not installed here" in capsys.readouterr().err


def test_a_killed_run_resumes_to_the_same_bytes(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    options = {"samples": 80, "length": 80, "batch-size": 4, "end-of-text": "stop", "seed": 3}
    killed = subprocess.Popen(
        [sys.executable, "-m", "calibrant", *stage(corpus, tiny_model_dir, cut, **options)], stderr=subprocess.DEVNULL
    )
    partial = tmp_path / "cut.parquet.partial"
    deadline = time.monotonic() + 120
    while len(list(partial.glob("wave-*.json"))) < 2:
        assert killed.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not cut.exists()
    finished = {wave.name: wave.stat().st_mtime_ns for wave in partial.glob("wave-*.json")}
    seen: dict[str, int] = {}
    remove = PartialRows.remove

    def look_then_remove(self: PartialRows) -> None:
        seen.update({wave.name: wave.stat().st_mtime_ns for wave in partial.glob("wave-*.json")})
        remove(self)

    with monkeypatch.context() as patch:
        patch.setattr(PartialRows, "remove", look_then_remove)
        assert main(stage(corpus, tiny_model_dir, cut, **options)) == 0
    assert finished.items() <= seen.items()  # taken up, not made again
    assert len(seen) > len(finished)
    assert not partial.exists()
    assert main(stage(corpus, tiny_model_dir, whole, **options)) == 0
    assert whole.read_bytes() == cut.read_bytes()


def test_more_samples_begin_with_the_same_rows_and_take_up_finished_ones(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set that is a block of rows is the same whatever comes behind it."""
    few, many, fresh = (tmp_path / f"{name}.parquet" for name in ("few", "many", "fresh"))
    with monkeypatch.context() as patch:
        patch.setattr(PartialRows, "remove", lambda self: None)
        assert main(stage(corpus, tiny_model_dir, few, samples=40)) == 0  # of 12 documents
    few.with_name("few.parquet.partial").rename(tmp_path / "many.parquet.partial")
    waves: list[int] = []
    save = PartialRows.save
    with monkeypatch.context() as patch:
        patch.setattr(PartialRows, "save", lambda self, wave, rows: (waves.append(wave), save(self, wave, rows)))
        assert main(stage(corpus, tiny_model_dir, many, samples=80)) == 0
    assert waves == list(range(13, 27))  # waves of three: the 14th had one row of three
    assert main(stage(corpus, tiny_model_dir, fresh, samples=80)) == 0
    assert many.read_bytes() == fresh.read_bytes()
    assert pq.read_table(few).to_pylist() == pq.read_table(many).slice(0, 40).to_pylist()


def test_partial_work_for_other_inputs_or_damaged_is_not_taken_up(tmp_path: Path) -> None:
    rows = [Generated(0, (1, 2), "length", None), Generated(1, (1, 3), "end_of_text", 2)]
    store = PartialRows(tmp_path / "x.parquet", {"seed": 0})
    store.save(0, rows)
    assert PartialRows(tmp_path / "x.parquet", {"seed": 0}).load(0) == rows
    file = store.file("wave-000000.json")
    file.write_text(file.read_text()[:-10])
    assert store.load(0) is None
    store.save(0, rows)
    assert PartialRows(tmp_path / "x.parquet", {"seed": 1}).load(0) is None
    assert store.load(0) is None


def test_early_ends_are_scored_filtered_and_packed(tiny_model_dir: Path, corpus: Path, tmp_path: Path) -> None:
    """Rows that the model ended have different lengths; `sample` makes windows of their own tokens."""
    generated, scores, kept, packed = (tmp_path / f"{n}.parquet" for n in ("gen", "scores", "kept", "set"))
    options = {"end-of-text": "stop", "temperature": 3.0, "top-k": 0, "samples": 20, "prefix-length": 0}
    assert main(stage(corpus, tiny_model_dir, generated, **options)) == 0
    samples = read_samples(generated)
    lengths = {len(row) for row in samples.sequences}
    assert len(lengths) > 1
    reasons = samples.table["finish_reason"].to_pylist()
    assert all(len(row) == 40 or why == "end_of_text" for row, why in zip(samples.sequences, reasons, strict=True))
    assert samples.metadata["model_ends"]["rows"] == reasons.count("end_of_text")
    model = ["--model", str(tiny_model_dir)]
    assert main(["score", "--samples", str(generated), *model, "--output", str(scores)]) == 0
    filtering = ["filter", "--samples", str(generated), "--scores", str(scores), "--drop", "0.2"]
    assert main([*filtering, "--output", str(kept)]) == 0
    assert len(read_samples(kept)) == 16
    sampling = ["sample", "--documents", str(kept), *model, "--samples", "5", "--length", "16"]
    assert main([*sampling, "--output", str(packed)]) == 0
    windows = read_calibration_set(packed)
    assert windows.input_ids.shape == (5, 16)
    assert not set(windows.input_ids.flatten().tolist()) & {0, 1, 2}
    assert windows.table["origin"].to_pylist() == ["synthetic"] * 5
    assert windows.table["source"].to_pylist() == ["stories"] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top-p": 0}, "--top-p 0: must be above 0"),
        ({"temperature": 0}, "--temperature 0:"),
        ({"temperature": 1e-320}, "--temperature 9.99989e-321: must be between 0.001 and 1000"),
        ({"repetition-penalty": 1e-320}, "--repetition-penalty 9.99989e-321: must be between"),
        ({"samples": 10**12}, "--samples 1000000000000: must be between 1 and 10,000,000"),
        ({"top-k": -1}, "--top-k -1"),
        ({"repetition-penalty": 0}, "--repetition-penalty 0:"),
        ({"end-of-text": "never"}, "--end-of-text never: unknown; use suppress or stop"),
        ({"length-means": "all"}, "--length-means all"),
        ({"engine": "quick"}, "--engine quick: unknown"),
        ({"tokens": -1}, "--tokens -1"),
        ({"tensor-parallel": 0}, "--tensor-parallel 0"),
        ({"tensor-parallel": 2}, "--tensor-parallel 2: must be 1, or more with --engine vllm"),
        ({"length": 4}, "must be above the 4 tokens that are given"),
        ({"length": 5000}, "has 128 positions"),
        ({"samples": 0}, "--samples 0"),
        ({"prefix-length": -1}, "--prefix-length -1"),
        ({"batch-size": -1}, "--batch-size -1"),
    ],
)
def test_bad_settings_are_one_line(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: dict[str, object], message: str,
) -> None:  # fmt: skip
    capsys.readouterr()
    assert main(stage(corpus, tiny_model_dir, tmp_path / "gen.parquet", **options)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().count("\n") == 0
    assert not (tmp_path / "gen.parquet").exists()
