"""Models that were trained with a token before every text: a tiny Gemma, against plain loops over transformers.

One rule for windows, generated rows, scores and the perplexity of texts: the token is at the head, within the length,
and it is no text, no prefix and nothing to predict.
"""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from like_tokenizers import byte_level, sentencepiece, write_gemma
from support import make_text

from calibrant.artefacts.parquet import read_table
from calibrant.calibration.first_token import first_token
from calibrant.calibration.sample_set import read_samples
from calibrant.calibration.tokens import encode, special_ids
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models.checkpoint.loading import load_model, load_tokenizer

BOS = 1
TEXTS = [make_text(60, seed) for seed in range(8)]
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gemma(tmp_path_factory.mktemp("gemma") / "model", sentencepiece("gemma"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "tales.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def called(stage: str, name: str, **options: object) -> Path:
        command = [stage, "--output", str(tmp_path / name)]
        for option, value in options.items():
            command += [f"--{option.replace('_', '-')}", *([] if value is True else [str(value)])]
        assert main(command) == 0
        return tmp_path / name

    return called


def losses(model: Any, rows: list[list[int]], starts: list[int]) -> list[list[float]]:
    """Negative log-likelihood of each token of each row from its start on, one row at a time, by transformers alone."""
    found = []
    for row, start in zip(rows, starts, strict=True):
        with torch.inference_mode():
            logs = torch.log_softmax(model(torch.tensor([row])).logits[0].double(), -1)
        found.append([-float(logs[place - 1, row[place]]) for place in range(start, len(row))])
    return found


def mean_exp(values: list[float]) -> float:
    return math.exp(sum(values) / len(values))


def test_who_puts_the_token() -> None:
    """`auto` asks the tokenizer; one that names a token and puts none, as SmolLM2's, has none."""
    puts, named, nameless = (
        sentencepiece("llama2"),
        byte_level(),
        sentencepiece("gemma", puts=False, names=False),
    )
    assert [first_token(puts, bos) for bos in ("auto", "always", "never")] == [BOS, BOS, None]
    assert [first_token(named, bos) for bos in ("auto", "always", "never")] == [None, BOS, None]
    assert [first_token(nameless, bos) for bos in ("auto", "never")] == [None, None]
    with pytest.raises(InputError, match="--bos always: the model's tokenizer names no beginning-of-text token"):
        first_token(nameless, "always")


@pytest.mark.parametrize("packing", ["stream", "document"])
def test_windows(gemma: Path, corpus: Path, run: Run, packing: str) -> None:
    given = {"documents": corpus, "model": gemma, "samples": 4, "seed": 3, "packing": packing}
    found = read_samples(run("sample", "auto.parquet", **given, length=24))
    plain = read_samples(run("sample", "never.parquet", **given, length=23, bos="never"))
    assert found.sequences == [[BOS, *row] for row in plain.sequences]
    assert found.table["text"] == plain.table["text"]
    assert "<s>" not in "".join(found.table["text"].to_pylist())
    assert (found.metadata["settings"]["bos"], plain.metadata["settings"]["bos"]) == (True, False)
    assert run("sample", "always.parquet", **given, length=24, bos="always").read_bytes() == (
        run("sample", "auto.parquet", **given, length=24).read_bytes()
    )


@pytest.mark.parametrize("prefix", [0, 3])
@pytest.mark.parametrize("bos", ["auto", "never"])
def test_generation_is_a_plain_loop(gemma: Path, corpus: Path, run: Run, prefix: int, bos: str) -> None:
    if (prefix, bos) == (0, "never"):
        with pytest.raises(AssertionError):
            run("generate", "x.parquet", documents=corpus, model=gemma, prefix_length=0, bos="never")
        return
    greedy = {"top_k": 1, "repetition_penalty": 1, "samples": 3, "length": 20, "prefix_length": prefix, "quiet": True}
    found = read_samples(run("generate", "g.parquet", documents=corpus, model=gemma, bos=bos, **greedy))
    model, tokenizer = load_model(gemma), load_tokenizer(gemma)
    suppressed = special_ids(tokenizer)
    for row in found.table.to_pylist():
        named = encode(tokenizer, [TEXTS[int(name)] for name in row["doc_ids"]])
        ids = [*([BOS] if bos == "auto" else []), *(named[0][:prefix] if named else [])]
        while len(ids) < 20:
            with torch.inference_mode():
                logits = model(torch.tensor([ids])).logits[0, -1].clone()
                logits[suppressed] = -torch.inf
            ids.append(int(logits.argmax()))
        assert row["input_ids"] == ids
        assert row["prefix_length"] == prefix
        assert "<s>" not in row["text"]
    assert found.metadata["settings"]["bos"] == (bos == "auto")


@pytest.mark.parametrize("span", ["continuation", "whole"])
def test_scores_are_a_plain_loop(gemma: Path, corpus: Path, run: Run, span: str) -> None:
    """Rows that lack the token get it; those that begin with it keep it. It is never counted, nor is the prefix."""
    model = load_model(gemma)
    given = {"documents": corpus, "model": gemma, "samples": 3, "length": 20, "prefix_length": 3, "quiet": True}
    for made in ("auto", "never"):
        samples = run("generate", "g.parquet", **given, bos=made)
        rows = read_samples(samples).sequences
        for scored in ("auto", "never"):
            scores = run("score", "s.parquet", samples=samples, model=gemma, span=span, bos=scored)
            table, metadata = read_table(scores)
            whole = [row if made == "auto" or scored == "never" else [BOS, *row] for row in rows]
            head = int(whole[0][0] == BOS)
            expected = losses(model, whole, [head + 3 if span == "continuation" else 1] * 3)
            assert table["perplexity"].to_pylist() == pytest.approx([mean_exp(each) for each in expected], rel=1e-4)
            assert table["tokens"].to_pylist() == [len(each) for each in expected]
            assert metadata["settings"]["bos"] == (scored == "auto")


@pytest.mark.parametrize("average", ["corpus", "document"])
def test_perplexity_of_a_text_is_a_plain_loop(gemma: Path, corpus: Path, run: Run, average: str) -> None:
    model, tokenizer = load_model(gemma), load_tokenizer(gemma)
    parts = encode(tokenizer, ["\n\n".join(TEXTS)] if average == "corpus" else TEXTS)
    for bos, head in (("auto", [BOS]), ("never", [])):
        file = run("evaluate", "e.json", model=gemma, text=corpus, length=21, text_average=average, bos=bos)
        means, counted = [], 0
        for part in parts:
            own = 21 - len(head)
            rows = [head + part[start : start + own] for start in range(0, len(part), own)]
            found = [value for each in losses(model, rows, [1] * len(rows)) for value in each]
            means.append(mean_exp(found))
            counted += len(found)
        [row] = json.loads(file.read_text())
        assert row["value"] == pytest.approx(sum(means) / len(means), rel=1e-4)
        assert row["n"] == counted
        if head:
            assert counted == sum(map(len, parts))  # every token of the text is predicted
        record = json.loads(file.with_name("e.provenance.json").read_text())
        assert record["settings"]["bos"] == bool(head)


def test_a_text_of_one_token_has_a_perplexity_behind_the_token(gemma: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "one.txt").write_text("w")
    [row] = json.loads(run("evaluate", "e.json", model=gemma, text=tmp_path / "one.txt").read_text())
    assert row["n"] == 1


def test_the_way_of_generated_rows(gemma: Path, corpus: Path, tmp_path: Path, run: Run) -> None:
    """Filtered, exported, packed into windows, with their tokens or anew, pruned on, inspected: one token, in front."""
    given = {"documents": corpus, "model": gemma, "samples": 12, "length": 40, "quiet": True, "temperature": 50}
    pool = run("generate", "g.parquet", **given, top_k=0, end_of_text="stop", seed=1)
    rows = read_samples(pool).sequences
    assert len(set(map(len, rows))) > 1
    scores = run("score", "s.parquet", samples=pool, model=gemma)
    kept = run("filter", "f.parquet", samples=pool, scores=scores, drop=0.25)
    assert all(row[0] == BOS for row in read_samples(kept).sequences)
    assert read_samples(kept).metadata["bos"] is True
    for bos in ("auto", "never"):
        for anew in ({}, {"retokenise": True}):
            packed = read_samples(
                run("sample", "p.parquet", documents=kept, model=gemma, samples=3, length=16, bos=bos, **anew)
            )
            head = [BOS] if bos == "auto" else []
            assert all(len(row) == 16 and row[: len(head)] == head for row in packed.sequences)
            assert not any(set(row[len(head) :]) & {0, 1, 2} for row in packed.sequences)
    written = run("export", "export", calibration=kept).with_name("export.jsonl").read_text().splitlines()
    assert all(json.loads(line)["input_ids"][0] == BOS and "<s>" not in line for line in written)
    windows = run("sample", "w.parquet", documents=kept, model=gemma, samples=3, length=16)
    masks = run("prune", "m.safetensors", model=gemma, calibration=windows, method="wanda", sparsity=0.5)
    found = tmp_path / "i.json"
    assert main(["inspect", str(masks), "--model", str(gemma), "--text-set", str(windows), "--output", str(found)]) == 0
    assert all(layer["reconstruction_error"] for layer in json.loads(found.read_text()))
    from calibrant.pruning.masks.mask_file import read_masks

    assert read_masks(masks).metadata["bos"] is True


def test_the_token_belongs_to_the_tokenizer_of_the_model(gemma: Path, corpus: Path, tmp_path: Path, run: Run) -> None:
    """Rows of a model whose tokenizer puts none, scored by one whose tokenizer does, and the other way round."""
    plain = tmp_path / "plain"
    shutil.copytree(gemma, plain)
    sentencepiece("gemma", puts=False).save_pretrained(plain)
    given = {"documents": corpus, "samples": 3, "length": 12}
    made = {name: run("sample", f"{name}.parquet", model=m, **given) for name, m in (("puts", gemma), ("not", plain))}
    model = load_model(gemma)
    for name, scorer, head in (("not", gemma, [BOS]), ("not", plain, []), ("puts", plain, []), ("puts", gemma, [])):
        rows = [head + row for row in read_samples(made[name]).sequences]
        table, _ = read_table(run("score", "s.parquet", samples=made[name], model=scorer))
        expected = [mean_exp(each) for each in losses(model, rows, [1] * 3)]
        assert table["perplexity"].to_pylist() == pytest.approx(expected, rel=1e-4)


def test_a_context_is_not_exceeded(
    gemma: Path, corpus: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows as long as the model are; rows without the token that are as long leave no room for it."""
    full = run("sample", "full.parquet", documents=corpus, model=gemma, samples=2, length=64)
    assert read_samples(full).input_ids.shape == (2, 64)
    run("score", "s.parquet", samples=full, model=gemma)
    run("evaluate", "e.json", model=gemma, text=corpus, length=64)
    bare = run("sample", "bare.parquet", documents=corpus, model=gemma, samples=2, length=64, bos="never")
    run("score", "s.parquet", samples=bare, model=gemma, bos="never")
    capsys.readouterr()
    command = ["score", "--samples", str(bare), "--model", str(gemma), "--output", str(tmp_path / "x.parquet")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "65 tokens, the beginning-of-text token before it counted" in error
    assert error.count("\n") == 1


def test_a_tokenizer_without_the_token(
    gemma: Path, corpus: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(gemma, plain)
    sentencepiece("gemma", puts=False, names=False).save_pretrained(plain)
    (plain / "special_tokens_map.json").unlink(missing_ok=True)
    samples = run("sample", "s.parquet", documents=corpus, model=plain, samples=2, length=12)
    assert pq.read_table(samples)["input_ids"].to_pylist()[0][0] != BOS
    text = {"documents": corpus, "model": plain, "output": tmp_path / "x.parquet"}

    def call(stage: str, options: dict[str, Path], *more: str) -> int:
        return main([stage, *(word for name, file in options.items() for word in (f"--{name}", str(file))), *more])

    for stage, options in {
        "sample": text,
        "generate": text,
        "score": {"samples": samples, "model": plain, "output": tmp_path / "x.parquet"},
        "evaluate": {"text": corpus, "model": plain, "output": tmp_path / "x.json"},
    }.items():
        capsys.readouterr()
        assert call(stage, options, "--bos", "always") == 2
        assert "--bos always: the model's tokenizer names no beginning-of-text token" in capsys.readouterr().err
    assert call("generate", text, "--prefix-length", "0") == 2
    assert "--prefix-length 0: such a row starts from the beginning-of-text token" in capsys.readouterr().err
