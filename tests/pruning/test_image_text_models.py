"""The language model of checkpoints that take images: pruned as brute force in its own class does, the rest kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from image_text_models import PROCESSOR, own_class, write_image_text_model
from pruning_calls import prune
from safetensors.torch import load_file
from torch import nn

import calibrant as cal
from calibrant.artefacts.parquet import write_table
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import find_decoder_layers
from calibrant.pruning.inspection.mask_overlap import overlap_rows
from calibrant.pruning.inspection.reconstruction_error import reconstruction_errors
from calibrant.pruning.masks.mask_file import read_masks, weights_path
from calibrant.pruning.masks.masked_model import apply_masks

STORED = {"llava": "language_model.model.", "qwen2_5_vl": "model."}  # what their checkpoints call the language model
LOADED = "model.language_model."  # what their classes call it


@pytest.fixture(scope="module", params=STORED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model_dir(kind: str, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_text_model(kind, tmp_path_factory.mktemp("models") / kind, tiny_model_dir)


@pytest.fixture(scope="module")
def input_ids() -> np.ndarray:
    return np.random.default_rng(7).integers(3, 390, (3, 20))


@pytest.fixture(scope="module")
def calibration(input_ids: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "set.parquet"
    write_table(path, pa.table({"input_ids": pa.array(input_ids.tolist(), pa.list_(pa.int32()))}), {})
    return path


def load_own(kind: str, path: Path) -> Any:
    return own_class(kind).from_pretrained(path, dtype=torch.float32).eval()


def brute_force_wanda(
    kind: str, path: Path, input_ids: np.ndarray, kept_of: tuple[int, int]
) -> dict[str, torch.Tensor]:
    """Wanda by hooks on the language part of the whole model: keep n of every m, or of a row where m is 0."""
    model = load_own(kind, path)
    masks: dict[str, torch.Tensor] = {}
    for index in range(2):
        part = f"{LOADED}layers.{index}"
        linears = {f"{part}.{name}": m for name, m in model.get_submodule(part).named_modules() if type(m) is nn.Linear}
        seen: dict[str, list[torch.Tensor]] = {name: [] for name in linears}
        hooks = [
            module.register_forward_pre_hook(lambda _, inputs, to=seen[name]: to.append(inputs[0][0].double()))
            for name, module in linears.items()
        ]
        with torch.no_grad():
            for row in input_ids:
                model(input_ids=torch.from_numpy(row)[None], use_cache=False)
            for hook in hooks:
                hook.remove()
            for name, module in linears.items():
                norms = torch.stack([(x**2).sum(0) for x in seen[name]]).mean(0).sqrt()
                scores = module.weight.double().abs() * norms
                n, m = kept_of
                groups = scores.reshape(len(scores), -1, m or scores.shape[1])
                order = groups.argsort(dim=-1, stable=True)
                mask = torch.ones_like(groups, dtype=torch.bool)
                mask.scatter_(-1, order[..., : groups.shape[-1] - (n if m else groups.shape[-1] // 2)], False)
                masks[name.replace(LOADED, STORED[kind], 1)] = mask.reshape(scores.shape)
                module.weight.mul_(mask.reshape(scores.shape))
    return masks


@pytest.mark.parametrize("sparsity", ["0.5", "2:4"])
def test_masks_are_those_of_brute_force_and_apply_keeps_the_rest(
    kind: str, model_dir: Path, calibration: Path, input_ids: np.ndarray, sparsity: str, tmp_path: Path
) -> None:
    output, pruned = tmp_path / "m.safetensors", tmp_path / "pruned"
    prune(model_dir, calibration, "wanda", sparsity, output=output, device="cpu", progress=False)
    found = dict(read_masks(output).masks)
    expected = brute_force_wanda(kind, model_dir, input_ids, (2, 4) if ":" in sparsity else (0, 0))
    assert set(found) == set(expected)
    assert len(found) == 14  # of two decoder layers; none of the tower
    assert sum(int((found[name] != expected[name]).sum()) for name in found) <= 2  # the brute force sums in float64

    cal.apply(model_dir, output, pruned)
    before, after = load_file(model_dir / "model.safetensors"), load_file(pruned / "model.safetensors")
    assert {f"{name}.weight" for name in found} <= set(before)  # the checkpoint's own names
    assert list(before) == list(after)
    for key, tensor in before.items():
        mask = found.get(key.removesuffix(".weight"))
        wanted = tensor if mask is None else torch.where(mask, tensor, 0)
        assert wanted.numpy().tobytes() == after[key].numpy().tobytes(), key
    for name in [*PROCESSOR, "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]:
        assert (pruned / name).read_bytes() == (model_dir / name).read_bytes()

    masked = load_own(kind, model_dir)
    apply_masks(masked, output)  # the whole model of another program
    ids = torch.from_numpy(input_ids)
    with torch.no_grad():
        logits = load_own(kind, pruned)(input_ids=ids).logits
        assert torch.equal(logits, masked(input_ids=ids).logits)
        assert not torch.equal(logits, load_own(kind, model_dir)(input_ids=ids).logits)


def test_sparsegpt_and_its_weights(kind: str, model_dir: Path, calibration: Path, tmp_path: Path) -> None:
    output, pruned = tmp_path / "m.safetensors", tmp_path / "pruned"
    prune(model_dir, calibration, "sparsegpt", "0.5", output=output, device="cpu", progress=False)
    cal.apply(model_dir, output, pruned)
    before, after = load_file(model_dir / "model.safetensors"), load_file(pruned / "model.safetensors")
    weights = load_file(weights_path(output))
    assert all(key.startswith(STORED[kind] + "layers.") for key in weights)
    for key, tensor in before.items():
        assert torch.equal(after[key], weights.get(key, tensor)), key
    load_own(kind, pruned)


def test_experts_beside_a_tower(calibration: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    """Llama 4 keeps all experts of a layer in one tensor: masks name that tensor and its slice."""
    model, output, pruned = tmp_path / "llama4", tmp_path / "m.safetensors", tmp_path / "pruned"
    write_image_text_model("llama4", model, tiny_model_dir)
    prune(model, calibration, "wanda", "0.5", output=output, device="cpu", progress=False)
    cal.apply(model, output, pruned)
    before, after = load_file(model / "model.safetensors"), load_file(pruned / "model.safetensors")
    masks = dict(read_masks(output).masks)
    named = {f"{key}.{i}": key for key in before if ".experts." in key for i in range(4)}
    assert len(named) == 16
    assert set(named) < set(masks)
    others = {f"{name}.weight" for name in set(masks) - set(named)}
    for key, tensor in before.items():
        if key in named.values():
            for i in range(4):
                assert torch.equal(after[key][i], torch.where(masks[f"{key}.{i}"], tensor[i], 0))
        else:
            mask = masks[key.removesuffix(".weight")] if key in others else torch.ones_like(tensor, dtype=torch.bool)
            assert torch.equal(after[key], torch.where(mask, tensor, 0)), key
    load_own("llama4", pruned)


def test_the_tower_is_neither_read_nor_taken_for_the_decoder(kind: str, model_dir: Path) -> None:
    streamed = StreamedModel(open_checkpoint(model_dir), torch.float32, torch.device("cpu"))
    assert not any("vi" in name.split(".")[1] for name in streamed.sources if name != "lm_head.weight")
    for model in (streamed.model, load_own(kind, model_dir)):
        assert [layer.name for layer in find_decoder_layers(model)] == [f"{LOADED}layers.{i}" for i in range(2)]
    layers = find_decoder_layers(streamed.model, streamed.places)
    assert [layer.stored for layer in layers] == [f"{STORED[kind]}layers.{i}" for i in range(2)]


def test_statistics_options_and_reports_go_by_the_checkpoints_names(
    kind: str, model_dir: Path, calibration: Path, tmp_path: Path
) -> None:
    first, second, dense = (tmp_path / f"{name}.safetensors" for name in "abd")
    attention = rf"^{STORED[kind]}layers\.\d\.self_attn"
    cal.statistics(model_dir, calibration, dense, cal.StatisticsSettings(device="cpu"), progress=False)
    options = {"sequential": "dense", "exclude": attention}
    prune(
        *(model_dir, calibration, "owl", "0.5", options),
        output=first,
        statistics=dense,
        device="cpu",
        progress=False,
    )
    prune(model_dir, calibration, "magnitude", "0.5", {"exclude": attention}, output=second, progress=False)
    assert len(read_masks(first).masks) == 6
    assert [row["layer"] for row in overlap_rows([first, second])[:2]] == [f"{STORED[kind]}layers.{i}" for i in (0, 1)]
    assert all(row["weights"] for row in overlap_rows([first, second]))
    ids = torch.arange(40).reshape(2, 20)
    errors = reconstruction_errors(model_dir, first, {"x": ids}, device="cpu")["x"]
    assert all(0 < error < 1 for error in errors)
    cal.apply(model_dir, first, tmp_path / "pruned")
    lines = [line.split() for line in cal.inspect(tmp_path / "pruned").splitlines()]
    assert [line[1] for line in lines if line and line[0] == f"{STORED[kind]}layers.0"] == ["7"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("mllama", "MllamaForConditionalGeneration: runs 2 of its 3 decoder layers on text alone"),
        ("blip-2", "Blip2ForConditionalGeneration: cannot be run on text alone (.* 'pixel_values')"),
        ("florence2", "type florence2 has no causal language model; it writes from an encoder's states"),
        ("paligemma", "type paligemma has no causal language model; it reads text in both directions"),
    ],
)
def test_families_whose_layers_need_more_than_text(
    kind: str, reason: str, tiny_model_dir: Path, calibration: Path, tmp_path: Path
) -> None:
    model = write_image_text_model(kind, tmp_path / kind, tiny_model_dir)
    with pytest.raises(InputError, match=reason.replace("(", r"\(").replace(")", r"\)")) as caught:
        prune(model, calibration, "wanda", "0.5", output=tmp_path / "m.safetensors", device="cpu", progress=False)
    assert "\n" not in str(caught.value)


def test_numbers_in_a_tower_are_nobodys_business(kind: str, model_dir: Path, calibration: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = Path(shutil.copytree(model_dir, tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    name = next(key for key in weights if key.startswith("vis") and key.endswith("weight"))
    weights[name].fill_(float("nan"))
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    prune(model, calibration, "wanda", "0.5", output=tmp_path / "m.safetensors", device="cpu", progress=False)
    cal.apply(model, tmp_path / "m.safetensors", tmp_path / "pruned")
    after = load_file(tmp_path / "pruned" / "model.safetensors")
    assert after[name].numpy().tobytes() == weights[name].numpy().tobytes()
    assert json.loads((tmp_path / "pruned" / "config.json").read_text())["model_type"] == kind
