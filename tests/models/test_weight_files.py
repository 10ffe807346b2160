"""Which files are a model: whoever reads, hashes, copies or links a folder takes the same ones, or all refuse it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from calibrant.artefacts.tensor_files import METADATA_KEY
from calibrant.errors import InputError
from calibrant.models.checkpoint import weight_files as rule
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.checkpoint_files import companion_files
from calibrant.models.checkpoint.loading import load_model
from calibrant.pruning.run.run_inputs import open_model
from calibrant.sources.asset_specs import Model
from calibrant.sources.model_folder import build_model

Weights = dict[str, torch.Tensor]
PLAIN = {"format": "pt"}


def streamed(model: Path) -> Weights:
    """The parameters as pruning reads them."""
    found = open_model(model, "float32", "cpu")
    found.load("")
    return {name: value.clone() for name, value in found.model.named_parameters()}


def loaded(model: Path) -> Weights:
    """The parameters as evaluating, generating and scoring read them."""
    return dict(load_model(model, dtype="float32", device="cpu").named_parameters())


def outcome(read: Callable[[Path], Any], model: Path) -> Any:
    try:
        return read(model)
    except InputError as error:
        return str(error)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def write_shards(model: Path, weights: Weights) -> dict[str, str]:
    names = sorted(weights)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, model / file, PLAIN)
        weight_map |= dict.fromkeys(part, file)
    return weight_map


SURPLUS = ("zz.safetensors", "model-99999-of-99999.safetensors", "consolidated.safetensors", "model.fp16.safetensors")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    single=st.booleans(),
    index=st.sampled_from(["", "", "right", "right", "outside", "absolute", "lost", "list", "garbled", "empty"]),
    surplus=st.dictionaries(st.sampled_from(SURPLUS), st.booleans(), max_size=2),
)
def test_all_readers_take_the_same_weights_or_none(
    tiny_model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    single: bool,
    index: str,
    surplus: dict[str, bool],
) -> None:
    """A folder of any files: with an index or none, right or wrong, and others beside, of the same names or not."""
    model = tmp_path_factory.mktemp("arranged") / "model"
    shutil.copytree(tiny_model_dir, model)
    right = load_file(model / "model.safetensors")
    other = {name: value + 1 for name, value in right.items()}
    save_file(other, model.parent / "outside.safetensors", PLAIN)
    if index:
        weight_map = write_shards(model, right)
        places = {"outside": "../outside.safetensors", "absolute": str(model.parent / "outside.safetensors")}
        wrong = places | {"lost": "lost.safetensors"}
        weight_map = dict.fromkeys(weight_map, wrong[index]) if index in wrong else weight_map
        text = json.dumps({"list": [weight_map], "empty": {"weight_map": {}}}.get(index, {"weight_map": weight_map}))
        (model / rule.INDEX).write_text("{oops" if index == "garbled" else text)
    if not single:
        (model / rule.SINGLE).unlink()
    elif index:
        save_file(other, model / rule.SINGLE, PLAIN)  # an index is there, so this is not the model
    for name, repeats in surplus.items():
        save_file(other if repeats else {"tok_embeddings.weight": torch.ones(2)}, model / name, PLAIN)
    by_streaming, by_loading = outcome(streamed, model), outcome(loaded, model)
    assert same(by_streaming, by_loading)
    digest = outcome(lambda path: open_checkpoint(path).sha256, model)
    repeated = any(repeats and name != "model.fp16.safetensors" for name, repeats in surplus.items())
    if index == "right" or (not index and single and not repeated):
        assert same({name: by_loading[name] for name in right}, right)
        (model.parent / "outside.safetensors").unlink()
        taken = {file.name for file in rule.weight_files(model)}
        for file in model.glob("*.safetensors"):
            if file.name not in taken:
                file.unlink()
        assert open_checkpoint(model).sha256 == digest  # it covers what was read, and nothing else
    else:
        assert by_loading == digest
        assert str(model) in by_loading


def test_links_as_the_hubs_cache_has_them(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "models--a--b" / "snapshots" / "0"
    blobs = tmp_path / "models--a--b" / "blobs"
    shutil.copytree(tiny_model_dir, model)
    blobs.mkdir()
    for file in list(model.iterdir()):
        file.rename(blobs / file.name)
        file.symlink_to(Path("../../blobs") / file.name)
    assert open_checkpoint(model).sha256 == open_checkpoint(tiny_model_dir).sha256
    assert same(streamed(model), loaded(tiny_model_dir))


def test_masks_beside_the_weights_are_no_weights(tiny_model_dir: Path, tmp_path: Path) -> None:
    assert rule.METADATA_KEY == METADATA_KEY
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    shutil.copy(model / "model.safetensors", tmp_path / "kept.safetensors")
    weights = load_file(model / "model.safetensors")
    save_file(weights, model / "sgpt.weights.safetensors", {METADATA_KEY: "{}"})
    assert rule.weight_files(model) == [model / "model.safetensors"]


def test_a_configuration_names_no_other_weights(tiny_model_dir: Path, tmp_path: Path) -> None:
    """transformers reads the file that the key `transformers_weights` of config.json names."""
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    other = {name: value + 1 for name, value in load_file(model / "model.safetensors").items()}
    save_file(other, model / "zz.safetensors", {METADATA_KEY: "{}", **PLAIN})
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"transformers_weights": "zz.safetensors"}))
    assert same(loaded(model), loaded(tiny_model_dir))


@pytest.mark.parametrize("index", [False, True])
def test_download_links_the_weights_alone(tiny_model_dir: Path, tmp_path: Path, index: bool) -> None:
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    if index:
        (model / rule.INDEX).write_text(json.dumps({"weight_map": write_shards(model, weights)}))
    save_file({"layers.0.attention.wq.weight": torch.ones(2)}, model / "consolidated.safetensors", PLAIN)
    build_model(Model(path=str(model)), tmp_path / "out", tmp_path / "archives")
    found = {file.name for file in (tmp_path / "out").glob("*.safetensors")}
    assert found == {file.name for file in rule.weight_files(model)}
    assert same(loaded(tmp_path / "out"), loaded(model))


@pytest.mark.parametrize("stored", ["lm_head.weight", "model.embed_tokens.weight", "both"])
def test_tied_weights_are_stored_under_either_name(tiny_model_dir: Path, tmp_path: Path, stored: str) -> None:
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = load_file(model / "model.safetensors")
    shared = weights.pop("lm_head.weight")
    del weights["model.embed_tokens.weight"]
    names = ["lm_head.weight", "model.embed_tokens.weight"] if stored == "both" else [stored]
    save_file({**weights, **{name: shared.clone() for name in names}}, model / "model.safetensors", PLAIN)
    assert torch.equal(streamed(model)["model.embed_tokens.weight"], shared)
    network = load_model(model, dtype="float32", device="cpu")
    assert torch.equal(network.get_input_embeddings().weight, shared)
    assert torch.equal(network.get_output_embeddings().weight, shared)


def test_a_link_in_a_model_folder_gives_nothing_away(tiny_model_dir: Path, tmp_path: Path) -> None:
    """A pruned checkpoint is made to be published; the hub's cache has links under the names that models have."""
    (tmp_path / "secret").write_text("precious")
    model = tmp_path / "model"
    shutil.copytree(tiny_model_dir, model)
    (model / "notes.txt").symlink_to(tmp_path / "secret")
    (model / "config.json").rename(tmp_path / "blob")
    (model / "config.json").symlink_to(tmp_path / "blob")
    names = [file.name for file in companion_files(model)]
    assert "notes.txt" not in names
    assert {"config.json", "tokenizer.json"} <= set(names)
