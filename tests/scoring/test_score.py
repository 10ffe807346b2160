"""Perplexity and Min-K%++ against a direct computation from whole logits in float64."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import read_table
from calibrant.cli.main import main
from calibrant.models.checkpoint.checkpoint_files import fingerprint
from calibrant.models.checkpoint.loading import load_model
from calibrant.models.structure import logit_chunks
from calibrant.scoring import sample_scores as score_module
from calibrant.scoring.min_k_plus_plus import min_k_plus_plus, token_statistics
from calibrant.scoring.perplexity import perplexity
from calibrant.scoring.sample_scores import Score, first_scored, score_sequences
from calibrant.settings.batches import HEAD_POSITIONS


def direct(model: nn.Module, ids: list[int], start: int, k: float) -> Score:
    """Equation 3 and exp of the mean loss, written out over whole float64 logits, one sequence at a time."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].double().numpy()
    logs = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    logs -= logits.max(-1, keepdims=True)
    own, relative = [], []
    for t in range(start, len(ids)):
        row = logs[t - 1]
        p = np.exp(row)
        mean = (p * row).sum()
        variance = (p * (row - mean) ** 2).sum()
        own.append(row[ids[t]])
        relative.append((row[ids[t]] - mean) / math.sqrt(variance))
    lowest = sorted(relative)[: max(1, int(len(relative) * k / 100))]
    return Score(math.exp(-sum(own) / len(own)), sum(lowest) / len(lowest), len(own))


def random_rows(lengths: list[int], vocabulary: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, vocabulary, n).tolist() for n in lengths]


@pytest.mark.parametrize(("k", "chunk", "batch_tokens"), [(50, 256, 4096), (20, 7, 4096), (100, 1, 64), (1, 13, 1)])
def test_scores_equal_a_direct_computation(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, k: float, chunk: int, batch_tokens: int
) -> None:
    monkeypatch.setattr(logit_chunks, "HEAD_POSITIONS", chunk)
    model = load_model(tiny_model_dir)
    rows = random_rows([40, 9, 40, 2, 17, 40], 400)
    starts = [1, 4, 7, 1, 16, 39]
    scores = score_sequences(model, rows, starts, k, batch_tokens)
    for row, start, found in zip(rows, starts, scores, strict=True):
        expected = direct(model, row, start, k)
        assert found.tokens == expected.tokens
        assert found.perplexity == pytest.approx(expected.perplexity, rel=1e-5)
        assert found.min_k_plus_plus == pytest.approx(expected.min_k_plus_plus, rel=1e-4, abs=1e-4)


def test_whole_span_is_the_loss_of_transformers(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir)
    row = random_rows([60], 400)[0]
    with torch.inference_mode():
        loss = model(torch.tensor([row]), labels=torch.tensor([row])).loss
    [found] = score_sequences(model, [row], [first_scored(4, "whole")])
    assert found.perplexity == pytest.approx(math.exp(float(loss)), rel=1e-5)


SMALL = {
    "vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# A tied head with learned positions; then models that cap their logits after the head, or scale them.
OTHERS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16, "final_logit_softcapping": 0.5},
    "gemma3_text": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16, "final_logit_softcapping": 0.7},
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.0625},
}


def other_model(kind: str, **changes: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SMALL, **OTHERS[kind], **changes}))
        for parameter in model.parameters():  # spread out, so that a cap or a scale shows
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("chunk", [256, 7])
@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("ours", [True, False], ids=["by our decoder", "by transformers"])
def test_other_architectures(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str, chunk: int, ours: bool
) -> None:
    monkeypatch.setattr(logit_chunks, "HEAD_POSITIONS", chunk)
    if not ours:
        monkeypatch.setattr(score_module, "fast_decoder", lambda model, length=0: None)
    model = other_model(kind)
    rows, starts = random_rows([20, 20, 33, 400], 90), [1, 7, 4, 1]
    with caplog.at_level(logging.WARNING):
        scores = score_sequences(model, rows, starts, 30)
    said = "changes logits after its output head; its own are taken" in caplog.text
    declared = kind in ("gemma2", "gemma3_text", "granite")
    assert said == (kind != "gpt2" and not (ours and declared))
    for row, start, found in zip(rows, starts, scores, strict=True):
        expected = direct(model, row, start, 30)
        assert found.perplexity == pytest.approx(expected.perplexity, rel=1e-5)
        assert found.min_k_plus_plus == pytest.approx(expected.min_k_plus_plus, abs=1e-4)
        assert found.tokens == expected.tokens


def test_a_model_that_scales_its_logits_passes_the_stage(tmp_path: Path) -> None:
    other_model("granite").save_pretrained(tmp_path / "granite")
    write_rows(tmp_path / "gen.parquet", random_rows([20, 31, 8], 90), [4, 0, 2])
    files = ["--samples", str(tmp_path / "gen.parquet"), "--output", str(tmp_path / "scores.parquet")]
    assert main(["score", "--model", str(tmp_path / "granite"), *files]) == 0
    table, _ = read_table(tmp_path / "scores.parquet")
    assert all(1 < value < 1000 for value in table["perplexity"].to_pylist())


def test_a_wrapped_model_is_scored_by_its_own_logits(tiny_model_dir: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner
            self.get_output_embeddings = inner.get_output_embeddings

        def forward(self, input_ids: torch.Tensor, **options: object) -> object:
            output = self.inner(input_ids, **options)
            output.logits = output.logits / 2
            return output

    model = Scaled(load_model(tiny_model_dir))
    [row] = random_rows([40], 400)
    [found] = score_sequences(model, [row], [1])
    assert found.perplexity == pytest.approx(direct(model, row, 1, 50).perplexity, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_llamas_scores_are_to_the_bit_those_of_decoder_and_head(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """Hidden states of the decoder, without the rest of the model, and its head over 256 positions at a time."""
    monkeypatch.setattr(score_module, "fast_decoder", lambda model, length=0: None)
    model = load_model(tiny_model_dir).to(dtype)
    rows, starts = random_rows([120, 120, 120], 400), [1, 4, 60]
    scores = score_sequences(model, rows, starts, 30)
    with torch.inference_mode():
        states = model.get_decoder()(torch.tensor(rows), use_cache=False).last_hidden_state
        hidden = torch.cat([state[start - 1 : -1] for state, start in zip(states, starts, strict=True)])
        targets = torch.tensor([token for row, start in zip(rows, starts, strict=True) for token in row[start:]])
        parts = [
            token_statistics(model.get_output_embeddings()(hidden[i : i + 256]), targets[i : i + 256])
            for i in range(0, len(hidden), 256)
        ]
    counts = [len(row) - start for row, start in zip(rows, starts, strict=True)]
    own, relative = (torch.split(torch.cat(columns), counts) for columns in zip(*parts, strict=True))
    assert scores == [
        Score(perplexity(o), min_k_plus_plus(r, 30), count) for o, r, count in zip(own, relative, counts, strict=True)
    ]


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60), st.floats(0.5, 100))
def test_min_k_is_the_mean_of_the_lowest(values: list[float], k: float) -> None:
    count = max(1, int(len(values) * k / 100))
    expected = sum(sorted(values)[:count]) / count
    assert min_k_plus_plus(torch.tensor(values), k) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert min_k_plus_plus(torch.tensor(values), 100) == pytest.approx(sum(values) / len(values), rel=1e-9, abs=1e-9)


def test_certain_and_impossible_tokens_stay_finite() -> None:
    """Probability one, probability zero, and a flat distribution, whose deviation is zero."""
    logits = torch.tensor([[200.0, 0.0, 0.0], [200.0, 0.0, -torch.inf], [0.0, 0.0, 0.0]])
    own, relative = token_statistics(logits, torch.tensor([0, 1, 2]))
    assert own.tolist() == pytest.approx([0.0, -200.0, -math.log(3)], abs=1e-5)
    assert torch.isfinite(relative).all()
    assert perplexity(torch.tensor([-800.0])) == math.inf


@given(st.integers(0, 10_000))
def test_expected_score_is_zero_with_unit_variance(seed: int) -> None:
    """Over the model's own distribution the standardised log-probability has mean 0 and variance 1."""
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(seed)) * 3
    p = torch.softmax(logits.double(), -1)[0]
    z = torch.stack([token_statistics(logits, torch.tensor([i]))[1][0] for i in range(50)]).double()
    assert float((p * z).sum()) == pytest.approx(0, abs=1e-4)
    assert float((p * z * z).sum()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("prefix", "span", "expected"),
    [
        (4, "continuation", 4),
        (0, "continuation", 1),
        (None, "continuation", 1),
        (1, "continuation", 1),
        (4, "whole", 1),
    ],
)
def test_where_scoring_starts(prefix: int | None, span: str, expected: int) -> None:
    assert first_scored(prefix, span) == expected


def write_rows(path: Path, rows: list[list[int]], prefix: list[int]) -> None:
    columns = {"input_ids": pa.array(rows, pa.list_(pa.int32())), "prefix_length": pa.array(prefix, pa.int32())}
    pq.write_table(pa.table({"sample_id": pa.array([10, 20, 30], pa.int64()), **columns}), path)


def test_stage(tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tmp_path / "gen.parquet"
    rows = random_rows([20, 31, 8], 400)
    write_rows(samples, rows, [4, 0, 2])
    outputs = []
    for name in ("a.parquet", "b.parquet"):
        outputs.append(tmp_path / name)
        common = ["score", "--model", str(tiny_model_dir), "--samples", str(samples), "--output", str(outputs[-1])]
        assert main([*common, "--min-k", "30"]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    table, metadata = read_table(outputs[0])
    assert table["sample_id"].to_pylist() == [10, 20, 30]
    assert table["tokens"].to_pylist() == [16, 30, 6]
    model = load_model(tiny_model_dir)
    expected = [direct(model, row, start, 30) for row, start in zip(rows, [4, 1, 2], strict=True)]
    assert table["perplexity"].to_pylist() == pytest.approx([e.perplexity for e in expected], rel=1e-5)
    assert metadata["inputs"] == {"samples": sha256_file(samples)}
    assert metadata["model_sha256"] == fingerprint(tiny_model_dir)

    capsys.readouterr()
    write_rows(samples, rows, [4, 0, 8])
    assert main(common) == 2
    assert "sample_id 30 has 8 tokens and the first 8 do not count" in capsys.readouterr().err
    write_rows(samples, [*rows[:2], [5, 100_000]], [0, 0, 0])
    assert main(common) == 2
    assert "100000 is outside the model's vocabulary" in capsys.readouterr().err
    assert main([*common, "--min-k", "0"]) == 2
    assert "--min-k 0" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["packed", "llama", "granite", "gemma2"])
def test_logits_are_never_whole(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whatever the vocabulary and the lengths, there are logits of HEAD_POSITIONS positions at a time."""
    vocabulary, length = 50_000, 300
    small = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind in OTHERS:
        model = other_model(kind, vocab_size=vocabulary, **small)
    else:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, max_position_embeddings=512, **small)).eval()
    if kind == "llama":
        monkeypatch.setattr(score_module, "fast_decoder", lambda model, length=0: None)
    seen: list[tuple[int, ...]] = []

    class Watch(TorchFunctionMode):  # every result of the run, not of one function that we expect to make logits
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.shape[-1:] == (vocabulary,):
                seen.append(tuple(result.shape))
            return result

    rows = random_rows([length, length - 7, length], vocabulary)
    with Watch():
        score_sequences(model, rows, [1, 1, 290])
    assert max(math.prod(shape[:-1]) for shape in seen) == HEAD_POSITIONS


def test_a_packed_llama_scores_as_transformers_does(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ragged sequences in one pass without padding, against one pass for each length."""
    model = load_model(tiny_model_dir)
    rows, starts = random_rows([70, 12, 128, 33, 33, 5], 400), [1, 4, 100, 1, 32, 2]
    packed = score_sequences(model, rows, starts)
    monkeypatch.setattr(score_module, "fast_decoder", lambda model, length=0: None)
    plain = score_sequences(model, rows, starts)
    for one, other in zip(packed, plain, strict=True):
        assert one.perplexity == pytest.approx(other.perplexity, rel=1e-5)
        assert one.min_k_plus_plus == pytest.approx(other.min_k_plus_plus, abs=1e-4)
        assert one.tokens == other.tokens
