"""The published codes' loops, as the benchmark runs them, give the same masks in float32."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest
import torch
from pruning_calls import prune
from support import ROOT
from torch import Tensor

from calibrant.models.checkpoint.loading import load_model
from calibrant.pruning.masks.mask_file import read_masks

RATIO = 0.6


@pytest.fixture(scope="module")
def published() -> ModuleType:
    spec = importlib.util.spec_from_file_location("published", ROOT / "benchmarks" / "published.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ids(tiny_calibration: Path) -> Tensor:
    return torch.tensor(pq.read_table(tiny_calibration)["input_ids"].to_pylist())


@pytest.mark.parametrize("sequential", ["layer", "sublayer"])
@pytest.mark.parametrize(("method", "kind"), [("wanda", "Squares"), ("wanda", "Norms"), ("sparsegpt", "Hessian")])
def test_same_masks(
    sequential: str,
    method: str,
    kind: str,
    published: ModuleType,
    ids: Tensor,
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path: Path,
) -> None:
    network = load_model(tiny_model_dir, dtype="float32", device="cpu")
    expected = published.prune(network, ids, RATIO, getattr(published, kind), sequential == "sublayer")
    output = tmp_path / "masks.safetensors"
    options = {"sequential": sequential}
    pytorchs = {"device": "cpu", "dtype": "float32", "attention": "sdpa", "products": "plain"}
    prune(tiny_model_dir, tiny_calibration, method, str(RATIO), options, output=output, progress=False, **pytorchs)
    masks = dict(read_masks(output).masks)
    assert masks.keys() == expected.keys()
    for name, mask in masks.items():
        assert torch.equal(mask, expected[name]), name
