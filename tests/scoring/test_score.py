"""Perplexity and Min-K%++ against a direct computation from whole logits in float64."""

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
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import read_table
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint_files import fingerprint
from calibrant.models.checkpoint.loading import load_model
from calibrant.scoring import sample_scores as score_module
from calibrant.scoring.min_k_plus_plus import min_k_plus_plus, token_statistics
from calibrant.scoring.perplexity import perplexity
from calibrant.scoring.sample_scores import Score, first_scored, score_sequences


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
    monkeypatch.setattr(score_module, "HEAD_CHUNK", chunk)
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


def test_other_architectures() -> None:
    """Learned positions and a tied head (GPT-2), and logits with a soft cap (Gemma 2)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gpt = GPT2LMHeadModel(GPT2Config(vocab_size=90, n_embd=16, n_layer=2, n_head=2, n_positions=32))
        gemma = Gemma2ForCausalLM(
            Gemma2Config(
                vocab_size=90, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, head_dim=8, final_logit_softcapping=0.5, query_pre_attn_scalar=8,
            )
        )  # fmt: skip
    row = random_rows([20], 90)[0]
    for model in (gpt.eval(), gemma.eval()):
        [found] = score_sequences(model, [row], [1])
        assert found.perplexity == pytest.approx(direct(model, row, 1, 50).perplexity, rel=1e-5)


def test_logits_that_are_changed_after_the_head_are_refused(tiny_model_dir: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner
            self.config = inner.config
            self.get_decoder, self.get_output_embeddings = inner.get_decoder, inner.get_output_embeddings

        def forward(self, ids: torch.Tensor, **options: object) -> object:
            output = self.inner(ids, **options)
            output.logits = output.logits / 2
            return output

    with pytest.raises(InputError, match="changes its logits"):
        score_sequences(Scaled(load_model(tiny_model_dir)), [[3, 4, 5]], [1])


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


@pytest.mark.parametrize("packed", [True, False])
def test_logits_are_never_whole(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """Whatever the vocabulary and the lengths, the head gives logits of HEAD_CHUNK positions at a time, once each."""
    vocabulary, length = 50_000, 300
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=512,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    if not packed:
        monkeypatch.setattr(score_module, "packed_llama", lambda model: None)
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
    assert max(math.prod(shape[:-1]) for shape in seen) == score_module.HEAD_CHUNK


def test_a_packed_llama_scores_as_transformers_does(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ragged sequences in one pass without padding, against one pass for each length."""
    model = load_model(tiny_model_dir)
    rows, starts = random_rows([70, 12, 128, 33, 33, 5], 400), [1, 4, 100, 1, 32, 2]
    packed = score_sequences(model, rows, starts)
    monkeypatch.setattr(score_module, "packed_llama", lambda model: None)
    plain = score_sequences(model, rows, starts)
    for one, other in zip(packed, plain, strict=True):
        assert one.perplexity == pytest.approx(other.perplexity, rel=1e-5)
        assert one.min_k_plus_plus == pytest.approx(other.min_k_plus_plus, abs=1e-4)
        assert one.tokens == other.tokens
