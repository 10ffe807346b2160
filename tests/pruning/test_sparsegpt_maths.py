"""SparseGPT against what it approximates and against its own definition, in float64."""

from typing import Any

import pytest
import torch

from calibrant.errors import InputError
from calibrant.pruning.methods import hessian_factor
from calibrant.pruning.methods.criteria import sparsegpt
from calibrant.pruning.methods.input_statistics import COLUMNS, Statistics, new_statistics, update
from calibrant.settings.sparsity import NM, Unstructured

SETTINGS: dict[str, Any] = {"sparsegpt.damping": 0.01, "sparsegpt.block_size": 8}


def problem(rows: int = 6, cols: int = 24, tokens: int = 80) -> tuple[torch.Tensor, torch.Tensor, Statistics]:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(cols, cols, generator=generator) * 0.3 + torch.eye(cols)
    inputs = torch.randn(tokens, cols, generator=generator) @ mixing
    statistics = new_statistics(cols, {"hessian", "norm"}, torch.device("cpu"))
    for part in inputs.split(tokens // 4):
        update(statistics, part)
    return torch.randn(rows, cols, generator=generator), inputs, statistics


def column_by_column(weight: torch.Tensor, hessian: torch.Tensor, keep: torch.Tensor, damping: float) -> torch.Tensor:
    """Optimal brain surgeon in the order of the columns: after each, eliminate it from the remaining inverse."""
    W = weight.double().clone()
    H = hessian.double() + damping * hessian.double().diag().mean() * torch.eye(len(hessian))
    inverse = torch.linalg.inv(H)
    for i in range(W.shape[1]):
        error = torch.where(keep[:, i], 0, W[:, i]) / inverse[i, i]
        W[:, i:] -= error[:, None] * inverse[i, i:]
        inverse = inverse - torch.outer(inverse[:, i], inverse[i]) / inverse[i, i]
    return W


def test_the_hessian_is_twice_the_mean_of_x_x() -> None:
    _, inputs, statistics = problem()
    assert statistics.hessian is not None
    torch.testing.assert_close(statistics.hessian, 2 * inputs.T @ inputs / 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pattern", [Unstructured(0.5), NM(2, 4), NM(1, 4), NM(3, 8)])
def test_updates_equal_column_by_column_elimination(pattern: Unstructured | NM, dtype: torch.dtype) -> None:
    """Both orders of computation: the published one of float32 and the fused one of other formats."""
    weight, _, statistics = problem()
    weight = weight.to(dtype)
    assert statistics.hessian is not None
    keep, updated, _ = sparsegpt.solve(weight, statistics, pattern, None, SETTINGS)
    expected = column_by_column(weight, statistics.hessian, keep, 0.01)
    torch.testing.assert_close(updated.double(), expected * keep, atol=1e-4, rtol=1e-3)
    if isinstance(pattern, NM):
        assert (keep.reshape(6, -1, pattern.m).sum(-1) == pattern.n).all()
    else:
        for block in keep.split(8, dim=1):  # every block of columns loses the published count
            assert int((~block).sum()) == int(block.numel() * 0.5) + 1


@pytest.mark.parametrize("as_published", [True, False])
def test_the_factor_is_that_of_the_inverse(as_published: bool) -> None:
    """Wider than what is inverted directly, and no power of two times it; one input is dead."""
    _, _, statistics = problem(cols=3 * hessian_factor.SMALL + 5, tokens=800)
    assert statistics.hessian is not None
    statistics.hessian[5] = statistics.hessian[:, 5] = 0
    factor, dead = hessian_factor.inverse_factor(statistics, 0.01, as_published)
    H = statistics.hessian.double()
    H[5, 5] = 1
    H += 0.01 * H.diag().mean() * torch.eye(len(H))
    expected = torch.linalg.cholesky(torch.linalg.inv(H), upper=True)
    torch.testing.assert_close(factor.double(), expected, atol=1e-4 * float(expected.max()), rtol=1e-3)
    assert dead.nonzero().flatten().tolist() == [5]


def test_updated_weights_rebuild_the_output_better() -> None:
    weight, inputs, statistics = problem()
    keep, updated, _ = sparsegpt.solve(weight, statistics, Unstructured(0.5), None, SETTINGS)
    target = inputs @ weight.T
    assert (inputs @ updated.T - target).norm() < 0.8 * (inputs @ (weight * keep).T - target).norm()


def test_dead_inputs_lose_their_weights() -> None:
    weight, _, statistics = problem()
    assert statistics.hessian is not None
    statistics.hessian[5] = statistics.hessian[:, 5] = 0
    _, updated, _ = sparsegpt.solve(weight, statistics, Unstructured(0.5), None, SETTINGS)
    assert (updated[:, 5] == 0).all()
    assert updated.isfinite().all()


def test_more_damping_is_announced() -> None:
    weight, _, statistics = problem()
    statistics.hessian = -torch.eye(24) * 0.02 + torch.ones(24, 24)  # its smallest eigenvalue is negative
    with pytest.warns(UserWarning, match="needed damping 0.1"):
        sparsegpt.solve(weight, statistics, Unstructured(0.5), None, SETTINGS)


def test_a_hopeless_hessian_is_an_error() -> None:
    weight, _, statistics = problem()
    statistics.hessian = -torch.eye(24)
    with pytest.raises(InputError, match="cannot be factored even with damping 1;"):
        sparsegpt.solve(weight, statistics, Unstructured(0.5), None, SETTINGS)


def test_blocks_must_hold_whole_groups() -> None:
    weight, _, statistics = problem()
    with pytest.raises(InputError, match="must be a multiple of M in 1:3"):
        sparsegpt.solve(weight, statistics, NM(1, 3), None, SETTINGS)


def test_statistics_of_bfloat16_inputs() -> None:
    """Wider than one block of columns, and than a whole number of them."""
    generator = torch.Generator().manual_seed(0)
    seen = [torch.randn(30, COLUMNS + 90, generator=generator).bfloat16() for _ in range(3)]
    statistics = new_statistics(COLUMNS + 90, {"hessian", "norm"}, torch.device("cpu"))
    for x in seen:
        update(statistics, x[None])
    assert statistics.hessian is not None
    assert statistics.squared_norm is not None
    expected = 2 / 3 * sum(x.double().T @ x.double() for x in seen)
    torch.testing.assert_close(statistics.hessian.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(statistics.squared_norm.double(), expected.diag() / 2, rtol=1e-5, atol=1e-5)
