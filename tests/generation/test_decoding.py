"""The sampler's distribution is that of transformers' logits processors; draws follow it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from calibrant.generation.decoding import Candidates, History, best, candidates, draw
from calibrant.generation.generated_rows import Vocabulary
from calibrant.settings.text_settings import DecodingSettings


def history(rows: list[list[int]], special: torch.Tensor) -> History:
    longest = max(map(len, rows))
    ids = torch.tensor([row + [row[0]] * (longest - len(row)) for row in rows])
    first = torch.tensor([[i < len(row) and row[i] not in row[:i] for i in range(longest)] for row in rows])
    seen = torch.tensor([[int(s) in row for s in special] for row in rows]).reshape(len(rows), len(special))
    return History(ids, first, seen)


def reference(logits: torch.Tensor, row: list[int], chosen: DecodingSettings, banned: list[int]) -> torch.Tensor:
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(chosen.repetition_penalty)])
    if banned:
        processors.append(SuppressTokensLogitsProcessor(banned, device="cpu"))
    processors.append(TemperatureLogitsWarper(chosen.temperature))
    if chosen.top_k:
        processors.append(TopKLogitsWarper(chosen.top_k))
    if chosen.top_p < 1:
        processors.append(TopPLogitsWarper(chosen.top_p))
    return torch.softmax(processors(torch.tensor([row]), logits[None].float()), -1)[0]


def dense(found: Candidates, row: int, vocabulary: int) -> torch.Tensor:
    full = torch.zeros(vocabulary)
    return full.index_add_(0, found.tokens[row], found.probabilities[row])


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    scale=st.sampled_from([0.05, 1.0, 4.0]),  # at 0.05 most bfloat16 logits tie
    top_k=st.sampled_from([0, 1, 5, 50, 500]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    temperature=st.sampled_from([0.6, 1.0, 1.7]),
    penalty=st.sampled_from([1.0, 1.2, 0.8]),
    special=st.sampled_from([[], [0, 1, 2], [7, 150, 299]]),
)
def test_distributions_equal_transformers(
    seed: int, dtype: torch.dtype, scale: float, top_k: int, top_p: float, temperature: float, penalty: float,
    special: list[int],
) -> None:  # fmt: skip
    size = 300
    rng = np.random.default_rng(seed)
    logits = (torch.from_numpy(rng.normal(size=(3, size)).astype(np.float32)) * scale).to(dtype)
    rows = [rng.integers(0, size, int(n)).tolist() for n in rng.integers(1, 40, 3)]
    marks = torch.tensor(special, dtype=torch.int64)
    chosen = DecodingSettings(top_k=top_k, top_p=top_p, temperature=temperature, repetition_penalty=penalty)
    choice = candidates(logits.clone(), history(rows, marks), Vocabulary(tuple(special), size), chosen, marks)
    without, differs = choice.without, choice.differs.tolist()
    for i, row in enumerate(rows):
        assert same(dense(without, i, size), reference(logits[i], row, chosen, special), ties=dtype == torch.bfloat16)
        own = dense(choice.own, differs.index(i), size) if i in differs else dense(without, i, size)
        assert same(own, reference(logits[i], row, chosen, []), ties=dtype == torch.bfloat16)
        assert not set(special) & set(without.tokens[i][without.probabilities[i] > 0].tolist())


def same(found: torch.Tensor, expected: torch.Tensor, ties: bool) -> bool:
    """Equal probabilities. Which of several equal tokens top-p cuts off is up to an unstable sort in transformers."""
    if ties:
        found, expected = found.sort().values, expected.sort().values
    return torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "width"), [(49152, 66), (32000, 66), (50257, 20), (1024, 1), (300, 300), (4096, 130)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_best_of_a_large_vocabulary(columns: int, width: int, dtype: torch.dtype) -> None:
    """The values of a full sort, at columns that hold them; with ties, and with columns that are excluded."""
    values = torch.randn(3, columns, generator=torch.Generator().manual_seed(columns)).to(dtype)
    values[0, : columns - width // 2] = -torch.inf
    values[1].round_(decimals=0)
    found, where = best(values, width)
    assert torch.equal(found.sort(-1, descending=True).values, values.sort(-1, descending=True).values[:, :width])
    assert torch.equal(values.gather(1, where), found)
    assert all(len(set(row)) == width for row in where.tolist())


def test_distributions_over_a_whole_vocabulary() -> None:
    """At a real vocabulary's size, the selection by groups takes part; a special token counts where it has a chance."""
    size, special = 49152, [0, 1, 2]
    rng = np.random.default_rng(5)
    logits = torch.from_numpy(rng.normal(size=(6, size)).astype(np.float32) * 3)
    rows = [rng.integers(3, size, 60).tolist() for _ in range(6)]
    for i, row in enumerate(rows):
        logits[i, row[:20]] = torch.linspace(9, 15, 20)
        logits[i, 0] = 14.0 if i % 2 else -5.0
    marks = torch.tensor(special)
    choice = candidates(logits.clone(), history(rows, marks), Vocabulary((0, 1, 2), size), DecodingSettings(), marks)
    assert {1, 3, 5} <= set(choice.differs.tolist()) != set(range(6))
    for i, row in enumerate(rows):
        own = choice.own, choice.differs.tolist().index(i) if i in choice.differs else 0
        found = dense(*own, size) if i in choice.differs else dense(choice.without, i, size)
        assert same(dense(choice.without, i, size), reference(logits[i], row, DecodingSettings(), special), ties=False)
        assert same(found, reference(logits[i], row, DecodingSettings(), []), ties=False)


def test_ids_that_the_tokenizer_cannot_decode_are_never_drawn() -> None:
    logits = torch.zeros(1, 20)
    logits[0, 15:] = 9.0
    marks = torch.tensor([0])
    choice = candidates(logits, history([[3]], marks), Vocabulary((0,), 15), DecodingSettings(), marks)
    assert choice.differs.tolist() == [0]
    for found in (choice.without, choice.own):
        assert found.tokens[0][found.probabilities[0] > 0].max() < 15


def test_draws_follow_the_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 200, generator=generator) * 2
    marks = torch.tensor([0, 1])
    chosen = DecodingSettings(top_k=20, temperature=1.0)
    without = candidates(logits, history([[5, 9, 5]], marks), Vocabulary((0, 1), 200), chosen, marks).without
    n = 20_000
    many = Candidates(without.tokens.expand(n, -1), without.probabilities.expand(n, -1))
    uniform = torch.from_numpy(np.random.default_rng(1).random(n, dtype=np.float32))
    counts = torch.bincount(draw(many, uniform), minlength=200)
    expected = dense(without, 0, 200).double()
    assert int(counts[expected == 0].sum()) == 0
    kept = expected > 0
    assert chisquare(counts[kept], n * expected[kept] / expected[kept].sum()).pvalue > 1e-4


@pytest.mark.parametrize("uniform", [0.0, 0.5, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_the_ends_of_the_unit_interval(uniform: float) -> None:
    """Zero gives the best token; just below one gives the last with probability, never one that was cut off."""
    chosen = Candidates(torch.tensor([[4, 2, 9]]), torch.tensor([[0.5, 0.5, 0.0]]))
    token = int(draw(chosen, torch.tensor([uniform])))
    assert token == (4 if uniform < 0.5 else 2)
