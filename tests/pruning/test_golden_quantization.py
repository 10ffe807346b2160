"""Calibrant against the published GPTQ's outputs (`../shared/golden/quantization`), on the golden model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from calibrant.pruning.masks.mask_file import read_masks
from calibrant.settings.stage_settings import PruneSettings
from calibrant.stages.pruning import prune

CASES = (
    "gptq-w4",
    "gptq-w4g64",
    "gptq-w4g64-sym",
    "gptq-w3g32",
    "gptq-w4-actorder",
    "gptq-w4g64-actorder-static",
    "rtn-w4g64",
)
OFF = 0.001  # share of the weights that may differ by a step: rounding is a chain, and a near-tie changes what follows


@pytest.fixture(scope="module")
def folder(shared_dir: Path) -> Path:
    found = shared_dir / "golden" / "quantization"
    if not found.is_dir():
        pytest.skip(f"{found} is not there")
    return found


def test_every_case_is_tried(folder: Path) -> None:
    assert set(json.loads((folder / "manifest.json").read_text())) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_published_quantization(
    name: str, folder: Path, golden_dir: Path, golden_calibration: Path, tmp_path: Path
) -> None:
    case = json.loads((folder / "manifest.json").read_text())[name]
    method = "rtn" if case.get("rtn") else "gptq"
    options = {"symmetric": str(case["sym"]).lower()}
    if method == "gptq":
        options |= {"gptq.act_order": str(case["act"]).lower()}
        options |= {"gptq.static_groups": str(bool(case.get("static"))).lower()}
    group = None if case["group"] == -1 else case["group"]
    settings = PruneSettings(
        method=method,
        bits=case["bits"],
        group=group,
        option=options,
        dtype="float32",
        attention="sdpa",
        products="plain",
    )
    output = tmp_path / "codes.safetensors"
    found = prune(golden_dir / "model", golden_calibration, output, settings, progress=False)
    assert found["achieved_sparsity"] == 0
    file = read_masks(output)
    off = total = 0
    with safe_open(folder / f"{name}.safetensors", "pt") as golden:
        assert set(golden.keys()) == {f"{linear}.weight" for linear in file.metadata["shapes"]}
        for linear in file.metadata["shapes"]:
            expected = golden.get_tensor(f"{linear}.weight").float()
            quantized, weight = file.quantized(linear), file.weight(linear)
            assert quantized is not None
            assert weight is not None
            assert torch.equal(weight, quantized.dequantized())
            scales = quantized.scales.repeat_interleave(expected.shape[1] // quantized.scales.shape[1], dim=1)
            off += int(((weight - expected).abs() >= scales / 2).sum())
            total += weight.numel()
    assert off <= (0 if method == "rtn" else OFF * total), f"{off} of {total} weights differ by a step"
