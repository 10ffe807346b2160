"""The three sequential modes on a whole model in memory, by plain hooks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pruning_calls import prune
from transformers import AutoModelForCausalLM

from calibrant.calibration.sample_set import read_calibration_set
from calibrant.errors import InputError
from calibrant.models.structure import layer_calls as calls
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.run import activations
from calibrant.pruning.run import sublayer_order as in_turn
from calibrant.pruning.run.activations import ActivationPlace

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


@pytest.mark.parametrize("mode", ["layer", "sublayer", "dense"])
@pytest.mark.parametrize("method", ["wanda", "owl"])
def test_a_layer_may_be_left_out_whole(
    mode: str, method: str, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    output = tmp_path / "masks.safetensors"
    options = {"exclude": r"layers\.0\.", "sequential": mode}
    prune(tiny_model_dir, tiny_calibration, method, "0.5", options, output=output, device="cpu", progress=False)
    assert {name.split(".")[2] for name in read_masks(output).masks} == {"1"}


@pytest.mark.parametrize("options", [{}, {"exclude": "up_proj|v_proj"}])
def test_sublayer_takes_one_pass_and_equals_many(
    options: dict[str, str],
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run of a layer for each sequence, and one that finds its stages; the same masks as with a pass a stage."""
    runs = 0
    original = calls.LayerCall.run

    def counting(self: calls.LayerCall, *args: Any) -> torch.Tensor:
        nonlocal runs
        runs += 1
        return original(self, *args)

    monkeypatch.setattr(calls.LayerCall, "run", counting)

    def run(name: str) -> bytes:
        prune(
            *(tiny_model_dir, tiny_calibration, "sparsegpt", "0.5", {"sequential": "sublayer", **options}),
            output=tmp_path / name,
            device="cpu",
            progress=False,
        )
        return (tmp_path / name).read_bytes()

    one = run("one.safetensors")
    assert runs == 2 * (4 + 1)
    monkeypatch.setattr(in_turn, "routed", lambda linears: True)
    assert run("many.safetensors") == one
    assert runs > 2 * 2 * (4 + 1)


def test_another_order_of_calls_is_refused(tiny_model_dir: Path) -> None:
    class Fickle(torch.nn.Module):
        """Calls its linears in an order that depends on the input."""

        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(4, 4)
            self.b = torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second = (self.a, self.b) if x.sum() > 0 else (self.b, self.a)
            return second(first(x).exp())

    module = Fickle()
    layer = DecoderLayer(0, "layer", module)
    linears = {f"layer.{name}": Linear(f"layer.{name}", getattr(module, name)) for name in ("a", "b")}
    hidden = torch.stack([torch.ones(3, 4), -torch.ones(3, 4)])
    call = calls.LayerCall((), {}, True)
    with pytest.raises(InputError, match=r"in another order for another sequence; use sequential=layer"):
        in_turn.prune_in_turn(
            *(layer, linears, [call, call], hidden, ["norm"], torch.device("cpu"), lambda linears, seen: None),
            move_on=True,
        )


@pytest.mark.parametrize("mode", ["layer", "sublayer", "dense"])
@pytest.mark.parametrize("method", ["wanda", "owl"])
def test_activations_on_disk_give_the_same_bytes(
    mode: str, method: str, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    places: tuple[ActivationPlace, ...] = ("memory", "disk")
    for place in places:
        prune(
            *(tiny_model_dir, tiny_calibration, method, "0.5", {"sequential": mode}),
            output=tmp_path / f"{place}.safetensors",
            activations=place,
            device="cpu",
            progress=False,
        )
    assert (tmp_path / "memory.safetensors").read_bytes() == (tmp_path / "disk.safetensors").read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_large_sets_go_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "free_memory", lambda: 4000)
    made = activations.Activations(tmp_path, "auto")
    small, large = made.empty((10, 10), torch.bfloat16), made.empty((10, 51), torch.bfloat16)
    assert [file.stat().st_size for file in tmp_path.iterdir()] == [2 * 10 * 51]
    large.fill_(1.5)
    assert bool((made.copy(large) == 1.5).all())
    assert small.shape == (10, 10)


def test_where_free_memory_is_unknown_every_set_goes_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "free_memory", lambda: None)
    activations.Activations(tmp_path, "auto").empty((1, 2), torch.bfloat16)
    assert [file.stat().st_size for file in tmp_path.iterdir()] == [4]
