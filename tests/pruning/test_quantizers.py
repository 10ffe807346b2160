"""Quantizers against their own definitions, in float64 where they are sums, and on a whole random model."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pruning_calls import prune
from safetensors.torch import load_file

from calibrant.errors import InputError
from calibrant.pruning.masks.mask_file import read_masks, weights_path
from calibrant.pruning.masks.masked_model import load_pruned_model
from calibrant.pruning.methods.composition import Method, compose
from calibrant.pruning.methods.criteria import sparsegpt
from calibrant.pruning.methods.hessian_factor import inverse_factor
from calibrant.pruning.methods.input_statistics import Statistics, new_statistics, update
from calibrant.pruning.methods.quantizers import QUANTIZERS
from calibrant.pruning.methods.quantizers.weighted_levels import fit_levels
from calibrant.pruning.quantized_weight import QuantizedWeight, pack_codes, unpack_codes
from calibrant.settings.sparsity import NM, Pattern, Unstructured
from calibrant.settings.target import Width

ROWS, COLS = 7, 48


def problem(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, Statistics]:
    """A weight, inputs of very different columns, one of which is dead, and their statistics."""
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(COLS, COLS, generator=generator) * 0.3 + torch.diag(torch.linspace(0.1, 4, COLS))
    inputs = torch.randn(4, 60, COLS, generator=generator) @ mixing
    inputs[..., 5] = 0
    statistics = new_statistics(COLS, {"hessian", "norm", "magnitudes"}, torch.device("cpu"))
    for sequence in inputs:
        update(statistics, sequence.to(dtype))
    return torch.randn(ROWS, COLS, generator=generator).to(dtype), inputs.reshape(-1, COLS), statistics


def quantized(method: Method, weight: torch.Tensor, statistics: Statistics) -> QuantizedWeight:
    assert method.quantizer is not None
    assert method.width is not None
    return method.quantizer.quantize(weight, statistics, method.width, method.settings)


def levels(weights: np.ndarray, bits: int, symmetric: bool) -> tuple[float, float]:
    """Scale and zero of one group, by the words of the published code."""
    low, high = min(weights.min(), 0.0), max(weights.max(), 0.0)
    if symmetric:
        high = max(-low, high)
        low = -high
    scale = (high - low) / (2**bits - 1)
    return scale, 2 ** (bits - 1) if symmetric else np.round(-low / scale)


def column_by_column(
    weight: torch.Tensor, statistics: Statistics, width: Width, settings: dict[str, Any], block: int
) -> np.ndarray:
    """GPTQ as its paper has it, in float64: round a column, eliminate it from the inverse, go on."""
    assert statistics.hessian is not None
    W = weight.double().numpy().copy()
    H = statistics.hessian.double().numpy().copy()
    dead = np.diag(H) == 0
    H[dead, dead] = 1
    given = W.copy()
    W[:, dead] = 0
    order = np.argsort(-np.diag(H)) if settings["gptq.act_order"] else np.arange(COLS)
    of_group = W.copy() if width.group else given
    W, H = W[:, order], H[order][:, order]
    H += settings["gptq.damping"] * np.diag(H).mean() * np.eye(COLS)
    inverse, group = np.linalg.inv(H), width.group or COLS
    result, before_block = np.zeros_like(W), W.copy()
    starts: dict[int, np.ndarray] = {}  # of each group, the weights from which its range is taken
    for i in range(COLS):
        if i % block == 0:
            before_block = W.copy()
        for row in range(ROWS):
            if width.group is None or settings["gptq.static_groups"]:
                first = order[i] // group * group
                scale, zero = levels(of_group[row, first : first + group], width.bits, settings["symmetric"])
            else:
                # a group that begins in this block, or began in an earlier one
                first = i // group * group
                seen = before_block if first // block == i // block else starts[first // group]
                scale, zero = levels(seen[row, first : first + group], width.bits, settings["symmetric"])
            code = np.clip(np.round(W[row, i] / scale) + zero, 0, 2**width.bits - 1)
            result[row, i] = (code - zero) * scale
        for number in range(COLS // group):
            if number * group // block == i // block:
                starts.setdefault(number, before_block)
        W[:, i:] -= ((W[:, i] - result[:, i]) / inverse[i, i])[:, None] * inverse[i, i:]
        inverse = inverse - np.outer(inverse[:, i], inverse[i]) / inverse[i, i]
    back = np.empty_like(result)
    back[:, order] = result
    return back


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("symmetric", ["false", "true"])
@pytest.mark.parametrize("target", ["w4", "w3g16", "w8g24", "w2g12"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gptq.published": "false"},
        {"gptq.act_order": "true"},
        {"gptq.act_order": "true", "gptq.static_groups": "true"},
    ],
    ids=["plain", "at_once", "act_order", "static"],
)
def test_gptq_is_column_by_column_elimination(
    options: dict[str, str], target: str, symmetric: str, dtype: torch.dtype
) -> None:
    weight, _, statistics = problem(dtype)
    method = compose("gptq", target, {**options, "symmetric": symmetric, "gptq.block_size": "16"})
    assert method.width is not None
    found = quantized(method, weight, statistics)
    expected = column_by_column(weight, statistics, method.width, dict(method.settings), block=16)
    off = np.abs(found.dequantized().numpy() - expected) > float(found.scales.max()) / 100
    # a near-tie that falls the other way changes its row's columns after it
    assert off.any(axis=1).sum() <= 1, f"{off.sum()} weights in {off.any(axis=1).sum()} rows"
    assert (found.dequantized()[:, 5] == 0).all()
    if "gptq.static_groups" in options or "gptq.act_order" not in options:
        assert found.column_groups is None


def test_gptq_rebuilds_the_output_better_than_rounding() -> None:
    weight, inputs, statistics = problem()
    target = inputs @ weight.T
    errors = {
        name: float((inputs @ quantized(compose(name, "w3g16"), weight, statistics).dequantized().T - target).norm())
        for name in ("rtn", "wrtn", "gptq")
    }
    assert errors["gptq"] < errors["wrtn"] < errors["rtn"]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rtn_takes_the_nearest_level(bits: int, symmetric: bool) -> None:
    weight, _, _ = problem()
    method = compose("rtn", f"w{bits}g16", {"symmetric": str(symmetric).lower()})
    found = quantized(method, weight, Statistics())
    for row in range(ROWS):
        for group in range(COLS // 16):
            part = weight[row, 16 * group : 16 * group + 16].double().numpy()
            scale, zero = levels(part, bits, symmetric)
            assert float(found.scales[row, group]) == pytest.approx(scale, rel=1e-6)
            assert int(found.zeros[row, group]) == zero
            every = (np.arange(2**bits) - zero) * scale
            nearest = np.abs(part[:, None] - every).min(axis=1)
            mine = np.abs(part - found.dequantized()[row, 16 * group : 16 * group + 16].double().numpy())
            np.testing.assert_allclose(mine, nearest, atol=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_fitted_levels_err_least_of_the_candidates(symmetric: bool) -> None:
    """Every candidate range by brute force: its codes, the best scale for them by least squares, and its error."""
    weight, _, statistics = problem()
    assert statistics.squared_norm is not None
    importance = statistics.squared_norm.double().numpy()
    found = fit_levels(
        weight, statistics.squared_norm, Width(3, 16), symmetric=symmetric, candidates=9, narrowest=0.5
    ).dequantized()
    for row in range(ROWS):
        for first in range(0, COLS, 16):
            part, h = weight[row, first : first + 16].double().numpy(), importance[first : first + 16]
            errors: dict[float, list[float]] = {1 - 1e-9: [], 1 + 1e-9: []}
            # at the whole range its largest weight lies between two levels when the zero is in the middle
            for share, nudge in itertools.product(np.linspace(1, 0.5, 9), errors):
                low, high = share * min(part.min(), 0), share * max(part.max(), 0)
                if symmetric:
                    high = max(-low, high)
                    low = -high
                scale = (high - low) / 7
                zero = 4 if symmetric else np.round(-low / scale)
                steps = np.clip(np.round(nudge * part / scale) + zero, 0, 7) - zero
                fitted = (h * part * steps).sum() / (h * steps**2).sum()
                errors[nudge].append((h * (part - fitted * steps) ** 2).sum())
            mine = (h * (part - found[row, first : first + 16].double().numpy()) ** 2).sum()
            assert any(mine == pytest.approx(min(each), rel=1e-4) for each in errors.values())


def test_groups_without_importance_count_evenly() -> None:
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))
    settings: dict[str, Any] = {"symmetric": False, "candidates": 5, "narrowest": 0.5}
    nothing = fit_levels(weight, torch.zeros(8), Width(2, 4), **settings)
    assert torch.equal(nothing.codes, fit_levels(weight, torch.ones(8), Width(2, 4), **settings).codes)


def test_weights_of_zero_stay_zero() -> None:
    weight, _, statistics = problem()
    weight[:, 10:] = 0
    for name in set(QUANTIZERS) - {"gptq"}:  # which makes up for other columns with them
        assert (quantized(compose(name, "w4g16"), weight, statistics).dequantized()[:, 32:] == 0).all(), name


@pytest.mark.parametrize("pattern", [Unstructured(0.5), NM(2, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sparsegpt_prunes_and_rounds_in_one_pass(pattern: Pattern, dtype: torch.dtype) -> None:
    """In float64: what is kept of a column is rounded to its row's levels, and the error of both is spread."""
    weight, _, statistics = problem(dtype)
    settings = {"sparsegpt.damping": 0.01, "sparsegpt.block_size": 16, "symmetric": False}
    keep, updated, codes = sparsegpt.solve(weight, statistics, pattern, Width(4), settings)
    assert codes is not None
    assert torch.equal(codes.dequantized() * keep, updated)
    assert (updated[~keep] == 0).all()
    factor, dead = inverse_factor(statistics, 0.01, as_published=True)
    U, W = factor.double().numpy(), weight.double().numpy().copy()
    given = W.copy()
    W[:, dead.numpy()] = 0
    expected = np.zeros_like(W)
    for i in range(COLS):
        for row in range(ROWS):
            scale, zero = levels(given[row], 4, symmetric=False)
            kept = W[row, i] if keep[row, i] else 0.0
            expected[row, i] = (np.clip(np.round(kept / scale) + zero, 0, 15) - zero) * scale
        W[:, i:] -= ((W[:, i] - expected[:, i]) / U[i, i])[:, None] * U[i, i:]
    off = np.abs(updated.numpy() - expected) > float(codes.scales.max()) / 100
    assert off.any(axis=1).sum() <= 1


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 40), st.integers(0, 1000))
def test_packed_codes_are_read_back(bits: int, rows: int, cols: int, seed: int) -> None:
    codes = torch.from_numpy(np.random.default_rng(seed).integers(0, 2**bits, (rows, cols)).astype(np.uint8))
    packed = pack_codes(codes, bits)
    assert packed.shape == (rows, -(-cols * bits // 8))
    assert torch.equal(unpack_codes(packed, cols, bits), codes)
    as_bits = "".join(f"{int(code):0{bits}b}" for code in codes[0])
    assert "".join(f"{int(byte):08b}" for byte in packed[0]).startswith(as_bits)


@pytest.mark.parametrize(
    ("method", "target", "options"),
    [
        ("rtn", "w4g8", {}),
        ("wrtn", "w3g8", {"symmetric": "true"}),
        ("gptq", "w4", {}),
        ("gptq", "w2g8", {"gptq.act_order": "true"}),
        ("awq", "w3g8", {}),
        ("magnitude", "0.5+w4g8", {}),
        ("sparsegpt", "2:4+w4g8", {}),
    ],
)
def test_a_quantized_model(
    method: str, target: str, options: dict[str, str], tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    """The file holds codes that are the weights beside it, and the model that is loaded with it has those weights."""
    output = tmp_path / "codes.safetensors"
    found = prune(tiny_model_dir, tiny_calibration, method, target, options, output=output, progress=False)
    assert found["sparsity"] == target
    file = read_masks(output)
    file.check(weights=True)
    model = load_pruned_model(tiny_model_dir, output, dtype="float32", device="cpu")
    parameters = dict(model.named_parameters())
    weights = load_file(weights_path(output))
    for name in file.metadata["shapes"]:
        quantized, mask = file.quantized(name), file.masks[name]
        assert quantized is not None
        assert int(quantized.codes.max()) < 2**quantized.bits
        expected = quantized.dequantized().to(weights[f"{name}.weight"].dtype)
        assert torch.equal(expected, weights[f"{name}.weight"])
        assert torch.equal(parameters[f"{name}.weight"], (expected * mask).float())
        if file.pruned:
            assert 0.4 < float(mask.float().mean()) < 0.6
        else:
            assert mask.all()
    for name in file.rescaled:
        assert torch.equal(parameters[f"{name}.weight"], weights[f"{name}.weight"].float())
    assert bool(file.rescaled) == (method == "awq")
    if method != "awq":  # without the weights beside it, the codes tell the same
        weights_path(output).unlink()
        again = dict(load_pruned_model(tiny_model_dir, output, dtype="float32", device="cpu").named_parameters())
        assert all(torch.equal(again[name], parameters[name]) for name in parameters)
    else:
        weights_path(output).unlink()
        with pytest.raises(InputError, match="its updated weights are missing"):
            read_masks(output)


def test_a_group_that_does_not_divide_names_those_that_do(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"group 7: model\.layers\.0\..*cannot be divided into groups of 7; these div"):
        prune(tiny_model_dir, tiny_calibration, "rtn", "w4g7", output=tmp_path / "x.safetensors", progress=False)


def test_codes_of_another_model_are_refused(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    prune(tiny_model_dir, tiny_calibration, "gptq", "w4g8", output=first, progress=False)
    prune(tiny_model_dir, tiny_calibration, "gptq", "w3g8", output=second, progress=False)
    weights_path(second).replace(weights_path(first))
    with pytest.raises(InputError, match="are the updated weights of other masks; make both again"):
        read_masks(first)
