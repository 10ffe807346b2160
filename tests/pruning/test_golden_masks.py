"""The published codes' masks on the golden model, case by case."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from calibrant.pruning.api import prune
from calibrant.pruning.masks import read_masks

PATTERNS = ["unstructured-0.5", "unstructured-0.6", "unstructured-0.7", "2of4", "4of8"]


def sparsity_of(case: str) -> str:
    """`wanda-2of4` -> `2:4` (pruned and kept counts are the same in every golden N:M case)."""
    return case.rsplit("-", 1)[-1].replace("of", ":")


def golden_mask(packed: torch.Tensor, cols: int) -> torch.Tensor:
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=cols).astype(bool))


def run(case: str, method: str, options: dict[str, str], golden_dir: Path, calibration: Path, output: Path) -> dict:
    metadata = prune(
        golden_dir / "model",
        calibration,
        method,
        sparsity_of(case),
        options,
        output=output,
        dtype="float32",
        device="cpu",
        progress=False,
    )
    expected = load_file(golden_dir / f"{case}.safetensors")
    masks = read_masks(output).masks
    assert set(masks) == set(expected)
    differing = sum(int((golden_mask(expected[n], masks[n].shape[1]) != masks[n]).sum()) for n in expected)
    total = sum(mask.numel() for mask in masks.values())
    return {"metadata": metadata, "differing": differing, "total": total, "masks": masks}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("method", ["magnitude", "wanda"])
def test_score_methods_equal_the_reference(
    method: str, pattern: str, golden_dir: Path, golden_calibration: Path, tmp_path: Path
) -> None:
    result = run(f"{method}-{pattern}", method, {}, golden_dir, golden_calibration, tmp_path / "masks.safetensors")
    assert result["differing"] <= 4
