"""The three sequential modes on a whole model in memory, by plain hooks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from calibrant.calibration.schema import read_calibration_set
from calibrant.pruning.api import prune
from calibrant.pruning.masks import read_masks

SUBLAYERS = [
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    ["self_attn.o_proj"],
    ["mlp.gate_proj", "mlp.up_proj"],
    ["mlp.down_proj"],
]


def inputs_of(model: Any, names: list[str], sequences: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """Every linear's inputs, a float64 [tokens, cols] for each sequence."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: seen[name].append(x[0][0].double()))
        for name in names
    ]
    with torch.no_grad():
        for row in sequences:
            model(row[None])
    for hook in hooks:
        hook.remove()
    return seen


def wanda(weight: torch.Tensor, inputs: list[torch.Tensor]) -> torch.Tensor:
    norms = torch.stack([x.square().sum(0) for x in inputs]).mean(0).sqrt()
    order = (weight.abs() * norms).argsort(dim=1, stable=True)
    return torch.ones_like(weight, dtype=torch.bool).scatter_(1, order[:, : weight.shape[1] // 2], False)


def steps(mode: str, layers: int) -> Iterator[list[str]]:
    """Which linears are pruned together, each time on inputs from what was pruned before."""
    groups = [[f"model.layers.{layer}.{name}" for name in group] for layer in range(layers) for group in SUBLAYERS]
    if mode == "sublayer":
        yield from groups
    elif mode == "layer":
        for start in range(0, len(groups), len(SUBLAYERS)):
            yield [name for group in groups[start : start + len(SUBLAYERS)] for name in group]
    else:
        yield [name for group in groups for name in group]


@pytest.mark.parametrize("mode", ["layer", "sublayer", "dense"])
def test_modes_equal_a_plain_computation(
    mode: str, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    output = tmp_path / "masks.safetensors"
    prune(
        *(tiny_model_dir, tiny_calibration, "wanda", "0.5", {"sequential": mode}),
        output=output,
        device="cpu",
        progress=False,
    )
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    sequences = torch.from_numpy(read_calibration_set(tiny_calibration).input_ids)
    differing = 0
    for names in steps(mode, 2):
        inputs = inputs_of(model, names, sequences)
        for name in names:
            weight = model.get_submodule(name).weight.data
            mask = wanda(weight, inputs[name])
            differing += int((read_masks(output).masks[name] != mask).sum())
            weight.mul_(mask)
    assert differing <= 4


def test_modes_differ(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    masks = {}
    for mode in ("layer", "sublayer", "dense"):
        output = tmp_path / f"{mode}.safetensors"
        prune(
            *(tiny_model_dir, tiny_calibration, "wanda", "0.5", {"sequential": mode}),
            output=output,
            device="cpu",
            progress=False,
        )
        masks[mode] = dict(read_masks(output).masks)
    down = "model.layers.0.mlp.down_proj"
    assert torch.equal(masks["layer"][down], masks["dense"][down])
    assert not torch.equal(masks["layer"][down], masks["sublayer"][down])
    assert not torch.equal(
        masks["layer"]["model.layers.1.mlp.down_proj"], masks["dense"]["model.layers.1.mlp.down_proj"]
    )


def test_excluded_linears_stay_dense(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    output = tmp_path / "masks.safetensors"
    options = {"exclude": r"layers\.0\.|down_proj"}
    prune(tiny_model_dir, tiny_calibration, "wanda", "0.5", options, output=output, device="cpu", progress=False)
    names = set(read_masks(output).masks)
    assert names == {f"model.layers.1.{name}" for group in SUBLAYERS[:3] for name in group}
