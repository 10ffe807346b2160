"""OWL's allocation, DSnoT's swaps and RIA's score against their definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.errors import InputError
from calibrant.pruning.methods.allocations import owl
from calibrant.pruning.methods.criteria import ria, wanda
from calibrant.pruning.methods.input_statistics import Statistics, new_statistics, update
from calibrant.pruning.methods.refinements import dsnot
from calibrant.pruning.methods.selection import select
from calibrant.settings.sparsity import NM, Unstructured

RATIO = {"owl.lambda": 0.08, "owl.m": 5.0, "owl.exact_target": False}
STEPS = {"owl.lambda": 2.0, "owl.m": 6.0, "owl.exact_target": False}
DSNOT: dict[str, Any] = {"dsnot.threshold": 0.1, "dsnot.max_cycles": 50, "dsnot.variance_power": 1.0}


def ratios(patterns: list[Any]) -> np.ndarray:
    return np.array([pattern.ratio for pattern in patterns])


def some_inputs(seed: int, cols: int) -> Statistics:
    statistics = new_statistics(cols, {"norm", "moments"}, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        update(statistics, torch.randn(20, cols, generator=generator) + 0.3)
    return statistics


def test_range_is_twice_lambda_and_the_mean_is_the_target() -> None:
    found = ratios(owl.allocate(Unstructured(0.6), [1.0, 3.0, 2.0, 9.0], [10] * 4, RATIO))
    assert found.max() - found.min() == pytest.approx(0.16)
    assert found.mean() == pytest.approx(0.6)
    assert found.argmin() == 3  # most outliers, least pruned


def test_equal_layers_are_pruned_equally() -> None:
    assert ratios(owl.allocate(Unstructured(0.6), [2.0, 2.0], [10, 10], RATIO)) == pytest.approx([0.6, 0.6])


def test_nothing_left_becomes_one_percent_and_too_much_is_an_error() -> None:
    with pytest.warns(UserWarning, match=r"leaves decoder layer 1 nothing to prune; 0\.01 is pruned"):
        found = ratios(owl.allocate(Unstructured(0.05), [0.0, 1.0], [10, 10], RATIO))
    assert found == pytest.approx([0.13, 0.01])
    with pytest.raises(InputError, match=r"owl\.lambda=0\.3: decoder layer 0 would lose a share of 1\.1"):
        owl.allocate(Unstructured(0.8), [0.0, 1.0], [10, 10], {**RATIO, "owl.lambda": 0.3})


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=8), st.floats(0.2, 0.85), st.integers(0, 99))
def test_exact_target_is_met_by_the_weighted_mean(observed: list[float], ratio: float, seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(10, 1000, len(observed)).tolist()
    exact = {**RATIO, "owl.exact_target": True, "owl.lambda": 0.05}
    found = ratios(owl.allocate(Unstructured(ratio), observed, sizes, exact))
    assert np.average(found, weights=sizes) == pytest.approx(ratio, abs=1e-9)


def test_n_of_m_moves_by_whole_steps() -> None:
    kept = [pattern.n for pattern in owl.allocate(NM(2, 4), [0.0, 0.1, 0.5, 1.0], [10] * 4, STEPS)]
    assert kept == [1, 1, 2, 3]  # shifts -0.8, -0.6, 0.2, 1.2: the total drifts to 7 of 8
    exact = owl.allocate(NM(2, 4), [0.0, 0.1, 0.5, 1.0], [10] * 4, {**STEPS, "owl.exact_target": True})
    assert sum(pattern.n for pattern in exact) == 8
    with pytest.raises(InputError, match="decoder layer 0 would keep 0 of 4 weights"):
        owl.allocate(NM(1, 4), [0.0, 1.0], [10, 10], {**STEPS, "owl.lambda": 3.0})


def test_a_layer_may_stay_dense() -> None:
    patterns = owl.allocate(NM(3, 4), [0.0, 1.0], [10, 10], STEPS)
    assert [pattern.n for pattern in patterns] == [2, 4]
    assert select(torch.rand(3, 8), patterns[1]).all()


def test_outliers_are_counted_over_all_linears() -> None:
    statistics = some_inputs(0, 8)
    weights = {"a": (torch.rand(4, 8), statistics), "b": (torch.rand(6, 8) * 9, statistics)}
    pooled = torch.cat([wanda.score(weight, s, {}).flatten() for weight, s in weights.values()])
    expected = 100 * float((pooled > 2 * pooled.mean()).double().mean())
    assert owl.observe(weights, {"owl.m": 2.0}) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_dsnot_equals_a_plain_row_by_row_computation(seed: int) -> None:
    statistics = some_inputs(seed, 40)
    weight = torch.randn(12, 40, generator=torch.Generator().manual_seed(seed))
    score = wanda.score(weight, statistics, {})
    keep = select(score, Unstructured(0.5))
    refined = dsnot.refine(weight, score, keep, statistics, Unstructured(0.5), {**DSNOT, "dsnot.max_cycles": 5})
    assert not torch.equal(refined, keep)
    short = plain_dsnot_cycles(weight, keep, statistics, 5)
    assert torch.equal(refined, short)


def plain_dsnot_cycles(weight: torch.Tensor, keep: torch.Tensor, statistics: Statistics, cycles: int) -> torch.Tensor:
    """Row by row in Python, from the description of the method (unstructured, few cycles)."""
    assert statistics.sums is not None
    assert statistics.variance is not None
    refined = keep.clone()
    scores = wanda.score(weight, statistics, {})
    for row in range(len(weight)):
        C = (weight[row] * statistics.sums).tolist()
        gain = (weight[row] * statistics.sums / statistics.variance).tolist()
        first = keep[row].tolist()
        error = sum(c for c, kept in zip(C, first, strict=True) if not kept)
        for _ in range(cycles):
            if abs(error) <= 0.1:
                break
            sign = 1 if error > 0 else -1
            left = [j for j in range(len(C)) if not refined[row, j] and not first[j] and sign * C[j] > 0]
            right = [j for j in range(len(C)) if refined[row, j] and first[j] and sign * C[j] < 0]
            if not left or not right:
                break
            grown = max(left, key=lambda j: sign * gain[j])
            dropped = min(right, key=lambda j: float(scores[row, j]))
            refined[row, grown], refined[row, dropped] = True, False
            error += C[dropped] - C[grown]
    return refined


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.floats(0.1, 0.9), st.sampled_from(["wanda", "magnitude"]))
def test_dsnot_keeps_every_rows_count(seed: int, ratio: float, initial: str) -> None:
    statistics = some_inputs(seed, 24)
    weight = torch.randn(6, 24, generator=torch.Generator().manual_seed(seed))
    score = wanda.score(weight, statistics, {}) if initial == "wanda" else weight.abs()
    for pattern in (Unstructured(ratio), NM(1, 4), NM(3, 8)):
        keep = select(score, pattern)
        refined = dsnot.refine(weight, score, keep, statistics, pattern, DSNOT)
        assert torch.equal(refined.sum(1), keep.sum(1))
        if isinstance(pattern, NM):
            assert (refined.reshape(6, -1, pattern.m).sum(-1) == pattern.n).all()


@pytest.mark.parametrize("pattern", [Unstructured(0.0), Unstructured(0.99)])
def test_dsnot_at_the_ends(pattern: Unstructured) -> None:
    statistics = some_inputs(0, 16)
    weight = torch.randn(4, 16)
    score = wanda.score(weight, statistics, {})
    keep = select(score, pattern)
    assert torch.equal(dsnot.refine(weight, score, keep, statistics, pattern, DSNOT).sum(1), keep.sum(1))


def test_attention_is_found_by_its_module() -> None:
    scope = {"dsnot.scope": "attention"}
    assert dsnot.applies("model.layers.0.self_attn.q_proj", scope)
    assert dsnot.applies("transformer.h.0.attn.c_attn", scope)
    assert dsnot.applies("gpt_neox.layers.0.attention.dense", scope)
    assert not dsnot.applies("model.layers.0.mlp.gate_proj", scope)
    assert not dsnot.applies("model.decoder.layers.0.fc1", scope)


def test_ria_is_the_published_formula() -> None:
    statistics = some_inputs(0, 5)
    assert statistics.squared_norm is not None
    weight = torch.randn(3, 5)
    weight[1] = 0
    expected = torch.zeros(3, 5)
    for i in range(3):
        for j in range(5):
            magnitude = abs(float(weight[i, j]))
            row, column = float(weight[i].abs().sum()), float(weight[:, j].abs().sum())
            share = magnitude / column + (magnitude / row if row else 0)
            expected[i, j] = share * float(statistics.squared_norm[j]) ** 0.25
    torch.testing.assert_close(ria.score(weight, statistics, {"ria.exponent": 0.5}), expected)
