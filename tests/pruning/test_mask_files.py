"""Mask files: what other tools read, what is refused, what is applied."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from artefact_files import write_mask_file
from pruning_calls import prune
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from calibrant.artefacts.tensor_files import stream_tensors, write_tensors
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.pruning.masks.mask_file import pack, read_masks, unpack, weights_path, zero_pruned
from calibrant.pruning.masks.masked_model import apply_masks, load_pruned_model
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint


def random_mask(rows: int, cols: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(rows * cols).random((rows, cols)) < 0.5)


@pytest.fixture(scope="module")
def wanda_masks(tiny_model_dir: Path, tiny_calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("wanda") / "masks.safetensors"
    prune(tiny_model_dir, tiny_calibration, "wanda", "0.5", output=output, device="cpu", progress=False)
    return output


@pytest.mark.parametrize("cols", [1, 7, 8, 9, 64])
def test_packing_is_numpys(cols: int) -> None:
    mask = random_mask(5, cols)
    assert np.array_equal(pack(mask).numpy(), np.packbits(mask.numpy(), axis=1))
    assert torch.equal(unpack(pack(mask), cols), mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_zeros_and_not_a_bit_more(dtype: torch.dtype) -> None:
    values = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    values[0, :6] = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, 1e-40, -1.0])
    whole = values.to(dtype)
    weight, mask = whole[:, 2:35], random_mask(6, 33)  # part of a parameter, as an expert's weight is
    before, version = whole.clone(), whole._version
    zero_pruned(weight, mask)
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    expected = before.view(integers)
    expected[:, 2:35][~mask] = 0
    assert torch.equal(whole.view(integers), expected)
    assert whole._version > version, "a layout of the weights that is kept elsewhere follows this count"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    masks = {"b": random_mask(3, 11), "a": random_mask(4, 16)}
    write_mask_file(tmp_path / "m.safetensors", masks)
    file = read_masks(tmp_path / "m.safetensors")
    assert list(file.masks) == ["a", "b"]
    assert all(torch.equal(file.masks[name], masks[name]) for name in masks)
    with safe_open(tmp_path / "m.safetensors", framework="pt") as raw:
        assert set(raw.metadata()) == {"calibrant"}
        text = raw.metadata()["calibrant"]
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) == text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.uint8, torch.int64, torch.bool])
def test_streamed_safetensors_are_read_by_the_library(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "x": torch.arange(15).reshape(3, 5).to(dtype),
        "ä": torch.ones(0, 3, dtype=dtype),
        "s": torch.ones((), dtype=dtype),
    }
    write_tensors(tmp_path / "t.safetensors", tensors, {"k": 1})
    loaded = load_file(tmp_path / "t.safetensors")
    assert set(loaded) == set(tensors)
    assert all(torch.equal(loaded[name], tensors[name]) and loaded[name].dtype == dtype for name in tensors)


def test_a_tensor_that_is_not_as_announced_leaves_no_file(tmp_path: Path) -> None:
    for pieces in ([torch.ones(3)], [torch.ones(1)], [torch.ones(1, 1)] * 2, [torch.ones(2).half()]):
        with pytest.raises(ValueError, match="announced"):
            stream_tensors(tmp_path / "t.safetensors", {"x": ("F32", [2])}, lambda name, pieces=pieces: pieces, {})
        assert list(tmp_path.iterdir()) == []


def test_a_tensor_written_in_pieces_is_the_same(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 3, 2)
    stream_tensors(tmp_path / "t.safetensors", {"x": ("F32", [4, 3, 2])}, lambda name: whole.split(1), {})
    assert torch.equal(load_file(tmp_path / "t.safetensors")["x"], whole)


def test_metadata_says_what_was_done(wanda_masks: Path) -> None:
    metadata = read_masks(wanda_masks).metadata
    masks = read_masks(wanda_masks).masks
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert metadata["achieved_sparsity"] == pytest.approx(1 - kept / sum(mask.numel() for mask in masks.values()))
    assert metadata["requested_sparsity"] == 0.5
    assert metadata["method"] == "wanda"
    assert metadata["settings"] == {
        "sequential": "layer", "fused": "whole", "exclude": None, "group": "row", "unreached": "magnitude"
    }  # fmt: skip
    assert metadata["model"] == "tiny-llama"
    assert len(metadata["model_sha256"]) == len(metadata["calibration_sha256"]) == 64
    assert [layer["name"] for layer in metadata["layers"]] == ["model.layers.0", "model.layers.1"]
    assert str(Path.cwd()) not in json.dumps(metadata)


def test_same_inputs_same_bytes(
    wanda_masks: Path, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.safetensors"
    prune(tiny_model_dir, tiny_calibration, "wanda", "0.5", output=again, device="cpu", progress=False)
    assert again.read_bytes() == wanda_masks.read_bytes()
    assert list(tmp_path.iterdir()) == [again]  # no partial folder is left


def test_pruned_checkpoint_equals_masked_model(wanda_masks: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    write_pruned_checkpoint(tiny_model_dir, wanda_masks, tmp_path / "pruned")
    dense = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    pruned = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    masks = read_masks(wanda_masks).masks
    for name, parameter in dense.named_parameters():
        mask = masks.get(name.removesuffix(".weight"))
        expected = parameter if mask is None else parameter * mask
        assert torch.equal(pruned.get_parameter(name), expected), name
        if mask is not None:  # random weights are never zero by themselves
            assert torch.equal(pruned.get_parameter(name) == 0, ~mask), name
    assert (tmp_path / "pruned" / "tokenizer.json").exists()
    loaded = load_pruned_model(tiny_model_dir, wanda_masks, device="cpu")
    ids = torch.arange(3, 20)[None]
    assert torch.equal(loaded(ids).logits, pruned(ids).logits)


def test_shards_stay_as_they_are(wanda_masks: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(tiny_model_dir).save_pretrained(sharded, max_shard_size="60KB")
    shards = sorted(path.name for path in sharded.glob("*.safetensors"))
    assert len(shards) > 2
    output = tmp_path / "masks.safetensors"
    prune(sharded, None, "magnitude", "2:4", output=output, device="cpu", progress=False)
    write_pruned_checkpoint(sharded, output, tmp_path / "pruned")
    assert sorted(path.name for path in (tmp_path / "pruned").glob("*.safetensors")) == shards
    pruned = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    for name, mask in read_masks(output).masks.items():
        assert torch.equal(pruned.get_submodule(name).weight == 0, ~mask)


def test_updated_weights_are_applied_and_missed(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    output = tmp_path / "masks.safetensors"
    prune(tiny_model_dir, tiny_calibration, "sparsegpt", "2:4", output=output, device="cpu", progress=False)
    updated = load_file(weights_path(output))
    model = load_pruned_model(tiny_model_dir, output, device="cpu")
    for name, weight in updated.items():
        assert torch.equal(model.get_parameter(name), weight)
    weights_path(output).unlink()
    with pytest.raises(InputError, match=r"updated weights are missing; expected .*masks\.weights\.safetensors"):
        read_masks(output)


def test_masks_of_another_model_are_refused(wanda_masks: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    with torch.no_grad():
        model.model.norm.weight.add_(1)
    model.save_pretrained(tmp_path / "other")
    for use in (load_pruned_model, lambda path, masks: write_pruned_checkpoint(path, masks, tmp_path / "out")):
        with pytest.raises(InputError, match=r"made for model tiny-llama .*but other in .*other has sha256"):
            use(tmp_path / "other", wanda_masks)
    assert not (tmp_path / "out").exists()


def test_names_and_shapes_that_do_not_fit_are_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    path = tmp_path / "m.safetensors"
    write_mask_file(path, {"model.layers.9.mlp.up_proj": random_mask(64, 32)})
    with pytest.raises(InputError, match=r"has no model\.layers\.9\.mlp\.up_proj"):
        apply_masks(model, path)
    write_mask_file(path, {"model.layers.0.mlp.up_proj": random_mask(64, 31)})
    with pytest.raises(InputError, match="is 64 x 32 in the model, 64 x 31 in the masks"):
        apply_masks(model, path)


def test_files_that_are_no_masks_are_refused(wanda_masks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_masks(tmp_path / "absent.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(wanda_masks.read_bytes()[:-100])
    with pytest.raises(InputError, match="perhaps truncated"):
        read_masks(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.ones(2, 2)}, foreign)
    with pytest.raises(InputError, match="no file of calibrant"):
        read_masks(foreign)


def test_command_line_prune_apply_inspect(
    capsys: pytest.CaptureFixture[str], wanda_masks: Path, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    def calibrant(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    output = tmp_path / "masks.safetensors"
    calibrant(
        *("prune", "--model", tiny_model_dir, "--calibration", tiny_calibration, "--method", "wanda"),
        *("--sparsity", "0.5", "--threads", "1", "--device", "cpu", "--output", output),
    )
    assert output.read_bytes() == wanda_masks.read_bytes()
    calibrant("apply", "--model", tiny_model_dir, "--masks", output, "--output", tmp_path / "pruned")
    shown = calibrant("inspect", output, "--other", wanda_masks)
    assert "50.0000%" in shown
    assert "1.0000" in shown  # the overlap of a mask with itself
    assert "50.0000%" in calibrant("inspect", tmp_path / "pruned")
    assert "sequences: 4" in calibrant("inspect", tiny_calibration)
