"""From scores to masks: brute force, exact counts for any ratio and pattern, ties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.errors import InputError
from calibrant.pruning.methods.selection import keep_n_of_m, prune_lowest_per_row, select
from calibrant.settings.sparsity import NM, Unstructured


def brute_force_row(score: torch.Tensor, count: int) -> torch.Tensor:
    keep = torch.ones_like(score, dtype=torch.bool)
    for row in range(len(score)):
        order = sorted(range(score.shape[1]), key=lambda col: (float(score[row, col]), col))
        keep[row, order[:count]] = False
    return keep


def scores(seed: int, rows: int, cols: int, distinct: int) -> torch.Tensor:
    """Random scores with only a few distinct values, so that ties are everywhere."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, distinct, (rows, cols))).float()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 40), st.integers(1, 9), st.floats(0, 0.9999))
def test_rows_lose_exactly_the_floor_of_their_share_lower_columns_first(
    seed: int, rows: int, cols: int, distinct: int, ratio: float
) -> None:
    score = scores(seed, rows, cols, distinct)
    keep = select(score, Unstructured(ratio))
    assert ((~keep).sum(1) == int(cols * ratio)).all()
    assert torch.equal(keep, brute_force_row(score, int(cols * ratio)))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 99), st.data(), st.integers(2, 16), st.integers(1, 4), st.integers(1, 4))
def test_n_of_m_is_exact_in_every_group(seed: int, data: st.DataObject, m: int, rows: int, groups: int) -> None:
    n = data.draw(st.integers(1, m - 1))
    score = scores(seed, rows, groups * m, 4)
    keep = select(score, NM(n, m))
    assert (keep.reshape(rows, groups, m).sum(2) == n).all()
    assert torch.equal(keep.reshape(-1, m), brute_force_row(score.reshape(-1, m), m - n))


def test_one_of_four_keeps_one() -> None:
    keep = select(torch.tensor([[1.0, 4, 2, 3, 5, 5, 5, 5]]), NM(1, 4))
    assert keep.tolist() == [[False, True, False, False, False, False, False, True]]


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.61, 0.999])
@pytest.mark.parametrize("distinct", [3, 1000])
def test_layer_threshold_is_the_published_rule(ratio: float, distinct: int) -> None:
    score = scores(1, 7, 30, distinct)
    threshold = score.flatten().sort().values[math.floor(score.numel() * ratio)]
    keep = select(score, Unstructured(ratio, "linear"))
    assert torch.equal(keep, ~(score <= threshold))
    assert int((~keep).sum()) >= int(score.numel() * ratio) + 1


@pytest.mark.parametrize("pattern", [Unstructured(0.0), Unstructured(0.0, "linear")])
def test_nothing_is_pruned_at_zero(pattern: Unstructured) -> None:
    assert select(torch.zeros(3, 4), pattern).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_formats_are_compared_as_they_are(dtype: torch.dtype) -> None:
    score = torch.rand(20, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(prune_lowest_per_row(score, 40), brute_force_row(score.float(), 40))
    assert torch.equal(keep_n_of_m(score.reshape(-1, 4), 2), brute_force_row(score.float().reshape(-1, 4), 2))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    score = torch.ones(4, 8)
    score[2, 3] = bad
    with pytest.raises(InputError, match="not finite"):
        select(score, Unstructured(0.5))


def test_groups_must_fill_the_row() -> None:
    with pytest.raises(InputError, match="10 input features cannot be divided into groups of 4"):
        select(torch.ones(2, 10), NM(2, 4))
