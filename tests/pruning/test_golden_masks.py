"""The published codes' masks on the golden model, case by case."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pruning_calls import prune
from safetensors.torch import load_file

from calibrant.pruning.masks.mask_file import read_masks, weights_path

RATIOS = ["unstructured-0.5", "unstructured-0.6", "unstructured-0.7"]
PATTERNS = [*RATIOS, "2of4", "4of8"]
DSNOT = [
    *(f"dsnot-magnitude-attention-{pattern}" for pattern in RATIOS),
    *(f"dsnot-wanda-{scope}-{pattern}" for scope in ("attention", "all") for pattern in PATTERNS),
]
SPARSEGPT = [*(f"sparsegpt-{pattern}" for pattern in PATTERNS), *(f"owl-sparsegpt-{pattern}" for pattern in RATIOS)]


def golden_mask(packed: torch.Tensor, cols: int) -> torch.Tensor:
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=cols).astype(bool))


PYTORCH = {"attention": "sdpa", "products": "plain"}  # what the published codes compute with


def run(
    case: str, golden_dir: Path, calibration: Path, output: Path, kernels: dict[str, str] = PYTORCH
) -> dict[str, Any]:
    """Prune as a case's name says and compare; pruned and kept counts are the same in every golden N:M case."""
    method, *middle, last = case.removesuffix("-").split("-")
    options = {}
    if method == "dsnot":
        options = {"dsnot.initial": middle[0], "dsnot.scope": middle[1]}
    elif method == "owl":
        options = {"owl.criterion": middle[0]}
    metadata = prune(
        golden_dir / "model",
        calibration,
        method,
        last.replace("of", ":"),
        options,
        output=output,
        dtype="float32",
        device="cpu",
        progress=False,
        **kernels,
    )
    expected = load_file(golden_dir / f"{case}.safetensors")
    masks = dict(read_masks(output).masks)
    assert set(masks) == set(expected)
    reference = {name: golden_mask(packed, masks[name].shape[1]) for name, packed in expected.items()}
    differing = sum(int((reference[name] != masks[name]).sum()) for name in masks)
    total = sum(mask.numel() for mask in masks.values())
    return {"metadata": metadata, "masks": masks, "reference": reference, "differing": differing, "total": total}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("method", ["magnitude", "wanda", "owl-wanda"])
def test_score_methods(method: str, pattern: str, golden_dir: Path, golden_calibration: Path, tmp_path: Path) -> None:
    result = run(f"{method}-{pattern}", golden_dir, golden_calibration, tmp_path / "masks.safetensors")
    assert result["differing"] <= 4
    recorded = json.loads((golden_dir / "manifest.json").read_text())[f"{method}-{pattern}"]
    assert result["metadata"]["achieved_sparsity"] == pytest.approx(recorded["sparsity"], abs=1e-5)
    achieved = [layer["achieved_sparsity"] for layer in result["metadata"]["layers"]]
    assert achieved == pytest.approx(recorded["per_layer"], abs=1e-4)


@pytest.mark.parametrize("case", ["wanda-unstructured-0.6", "owl-wanda-2of4", *SPARSEGPT[:1]])
def test_the_faster_kernels(case: str, golden_dir: Path, golden_calibration: Path, tmp_path: Path) -> None:
    """What `auto` takes: the same for Hessians; else sums in another order.

    Those change an input's norm by some 10^-6 of its size, and a score no more. Of weights about one in 10^6 has a
    score that near to its row's threshold, for each layer that came before; the bound leaves a factor of 100.
    """
    result = run(case, golden_dir, golden_calibration, tmp_path / "masks.safetensors", {})
    hessians = case in SPARSEGPT
    assert result["differing"] <= (1e-3 if hessians else 1e-4) * result["total"]
    if hessians:
        assert (result["metadata"]["attention"], result["metadata"]["products"]) == ("sdpa", "plain")


@pytest.mark.parametrize("case", DSNOT)
def test_dsnot(case: str, golden_dir: Path, golden_calibration: Path, tmp_path: Path) -> None:
    result = run(case, golden_dir, golden_calibration, tmp_path / "masks.safetensors")
    assert result["differing"] <= 1e-4 * result["total"]
    for name, mask in result["masks"].items():
        assert torch.equal(mask.sum(1), result["reference"][name].sum(1)), name


@pytest.mark.parametrize("case", SPARSEGPT)
def test_sparsegpt(case: str, golden_dir: Path, golden_calibration: Path, tmp_path: Path) -> None:
    output = tmp_path / "masks.safetensors"
    result = run(case, golden_dir, golden_calibration, output)
    assert result["differing"] <= 1e-3 * result["total"]
    weights = golden_dir / f"{case}.weights.safetensors"
    if not weights.exists():
        return
    ours, theirs = load_file(weights_path(output)), load_file(weights)
    assert set(ours) == set(theirs)
    for name, expected in theirs.items():
        error = float((ours[name] - expected.float()).norm() / expected.float().norm())
        assert error < (1e-3 if ".layers.0." in name else 5e-2), name
        assert (ours[name][~result["masks"][name.removesuffix(".weight")]] == 0).all()
