"""AWQ's folding: the layer computes the same, whatever family it is of, and what cannot be folded is left alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from family_table import FAMILIES, VOCABULARY, small_model
from pruning_calls import prune
from safetensors.torch import load_file, save_file

from calibrant.artefacts.parquet import write_table
from calibrant.models.checkpoint.loading import load_model
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.masked_model import load_pruned_model
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint

# Family -> the norms of a layer that are divided.
NORMS = {
    "llama": {"input_layernorm", "post_attention_layernorm"},
    "gemma2": {"input_layernorm", "pre_feedforward_layernorm"},  # multiplies by one plus its weight
    "phi3": {"input_layernorm", "post_attention_layernorm"},  # gate and up are one linear
    "mixtral": {"input_layernorm"},  # the router reads what the second norm makes
}


def folder_of(name: str, tmp_path: Path) -> Path:
    family = next(each for each in FAMILIES if each.name == name)
    model: Any = small_model(family)
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def small_calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the table's small vocabulary."""
    ids = np.random.default_rng(0).integers(3, VOCABULARY, (4, 24))
    path = tmp_path_factory.mktemp("small") / "calibration.parquet"
    write_table(path, pa.table({"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}), {})
    return path


@pytest.mark.parametrize("name", NORMS)
def test_the_layer_computes_the_same(name: str, tmp_path: Path, small_calibration: Path) -> None:
    """At 8 bits hardly anything is lost, so the logits are those of the dense model if the factors cancel."""
    folder = folder_of(name, tmp_path)
    output = tmp_path / "codes.safetensors"
    prune(
        folder, small_calibration, "awq", "w8g8", {"awq.clip": "false"}, output=output, dtype="float32", progress=False
    )
    file = read_masks(output)
    assert {each.rpartition(".")[2] for each in file.rescaled} == NORMS[name]
    ids = torch.arange(3, 27)[None]
    with torch.no_grad():
        expected = load_model(folder, dtype="float32", device="cpu")(input_ids=ids).logits
        found = load_pruned_model(folder, output, dtype="float32", device="cpu")(input_ids=ids).logits
    assert float((found - expected).norm() / expected.norm()) < 0.02
    # and the weights were scaled indeed: not by rounding alone do they differ from the dense ones
    dense = dict(load_model(folder, dtype="float32", device="cpu").named_parameters())
    for norm in file.rescaled:
        weight = file.weight(norm)
        assert weight is not None
        assert float((weight - dense[f"{norm}.weight"]).abs().max()) > 0.01

    written = tmp_path / "written"
    write_pruned_checkpoint(folder, output, written)
    with torch.no_grad():
        again = load_model(written, dtype="float32", device="cpu")(input_ids=ids).logits
    assert torch.equal(again, found)


def test_a_norm_that_feeds_something_else_is_left_alone(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    """With query excluded, the norm before it may not be divided: query would be given other inputs."""
    output = tmp_path / "codes.safetensors"
    prune(tiny_model_dir, tiny_calibration, "awq", "w4g8", {"exclude": "q_proj"}, output=output, progress=False)
    assert {each.rpartition(".")[2] for each in read_masks(output).rescaled} == {"post_attention_layernorm"}


def test_awq_is_better_than_rounding_where_inputs_differ(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    """A model of which some features of every norm are twenty times the others."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tiny_model_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith("layernorm.weight"):
            weight[::11] *= 20
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    ids = torch.arange(3, 27)[None]
    losses = {}
    with torch.no_grad():
        expected = load_model(folder, dtype="float32", device="cpu")(input_ids=ids).logits
        for method, options in (("rtn", {}), ("awq", {"awq.clip": "false"})):
            output = tmp_path / f"{method}.safetensors"
            prune(folder, tiny_calibration, method, "w3", options, output=output, dtype="float32", progress=False)
            found = load_pruned_model(folder, output, dtype="float32", device="cpu")(input_ids=ids).logits
            losses[method] = float((found - expected).norm())
    assert losses["awq"] < 0.9 * losses["rtn"]
