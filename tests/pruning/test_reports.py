"""Reports about masks: overlap of two, reconstruction error on sets."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from calibrant.calibration.schema import read_calibration_set
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.pruning.api import prune
from calibrant.pruning.apply import load_pruned_model
from calibrant.pruning.describe import figures
from calibrant.pruning.masks import read_masks, write_masks
from calibrant.pruning.reconstruction import reconstruction_errors


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_errors_equal_those_of_whole_models(
    method: str, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    output = tmp_path / "masks.safetensors"
    prune(tiny_model_dir, tiny_calibration, method, "2:4", output=output, device="cpu", progress=False)
    ids = torch.from_numpy(read_calibration_set(tiny_calibration).input_ids)
    found = reconstruction_errors(tiny_model_dir, output, {"set": ids}, device="cpu")["set"]
    pruned = load_pruned_model(tiny_model_dir, output, device="cpu")
    dense = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    for layer, error in enumerate(found):
        mixed = AutoModelForCausalLM.from_pretrained(tiny_model_dir)  # pruned before `layer`, dense from there
        for before in range(layer):
            mixed.model.layers[before] = pruned.model.layers[before]
        seen: dict[str, list[torch.Tensor]] = {"x": [], "dense": [], "pruned": []}
        for name, tail in (("dense", dense), ("pruned", pruned)):
            mixed.model.layers[layer] = tail.model.layers[layer]
            with torch.no_grad():
                for row in ids:
                    states: list[torch.Tensor] = []
                    hook = mixed.model.layers[layer].register_forward_hook(
                        lambda _, args, out, states=states: states.extend([args[0], out])
                    )
                    mixed(row[None])
                    hook.remove()
                    seen[name].append(states[1])
                    if name == "dense":
                        seen["x"].append(states[0])
        x, f, g = (torch.cat(seen[name]).double() for name in ("x", "dense", "pruned"))
        assert error == pytest.approx(float((g - f).norm() / (f - x).norm()), rel=1e-4)


def test_dense_masks_have_no_error(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    output = tmp_path / "masks.safetensors"
    prune(tiny_model_dir, None, "magnitude", "0", output=output, device="cpu", progress=False)
    ids = torch.from_numpy(read_calibration_set(tiny_calibration).input_ids)
    assert reconstruction_errors(tiny_model_dir, output, {"set": ids}, device="cpu") == {"set": [0.0, 0.0]}


def test_overlap_is_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, two = (torch.from_numpy(rng.random((6, 10)) < 0.5) for _ in range(2))
    layers = {"layers": [{"name": "layers.0", "achieved_sparsity": 0.5}]}
    write_masks(tmp_path / "a.safetensors", {"layers.0.x": one}, layers)
    write_masks(tmp_path / "b.safetensors", {"layers.0.x": two}, layers)
    (row,) = figures(tmp_path / "a.safetensors", other=tmp_path / "b.safetensors")
    assert row["kept_in_both"] == pytest.approx(float((one & two).double().mean()))
    assert row["jaccard_kept"] == pytest.approx(float((one & two).sum() / (one | two).sum()))
    assert row["jaccard_pruned"] == pytest.approx(float((~one & ~two).sum() / (~one | ~two).sum()))
    write_masks(tmp_path / "c.safetensors", {"layers.0.y": two}, layers)
    with pytest.raises(InputError, match="cannot be compared"):
        figures(tmp_path / "a.safetensors", other=tmp_path / "c.safetensors")


def test_inspect_writes_figures(
    capsys: pytest.CaptureFixture[str], tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    masks, report = tmp_path / "masks.safetensors", tmp_path / "report.json"
    prune(tiny_model_dir, tiny_calibration, "wanda", "0.5", output=masks, device="cpu", progress=False)
    arguments = ["inspect", masks, "--model", tiny_model_dir, "--text-set", tiny_calibration, "--output", report]
    assert main([str(argument) for argument in [*arguments, "--device", "cpu"]]) == 0
    label = "calibration.parquet (calibration)"
    assert f"error: {label}" in capsys.readouterr().out
    rows = json.loads(report.read_text())
    assert [row["name"] for row in rows] == [layer["name"] for layer in read_masks(masks).metadata["layers"]]
    assert all(0 < row["reconstruction_error"][label] < 2 for row in rows)


@pytest.mark.parametrize(
    ("extra", "message"),
    [(["--model", "x"], "--model and --text-set go together"), (["--other", "y"], "--other: goes with a mask file")],
)
def test_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], tiny_calibration: Path, tiny_model_dir: Path, extra: list[str], message: str
) -> None:
    path = tiny_calibration if "--other" in extra else tiny_model_dir / "model.safetensors"
    assert main(["inspect", str(path), *extra]) == 2
    assert message in capsys.readouterr().err
