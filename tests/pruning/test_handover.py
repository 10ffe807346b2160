"""Masks and checkpoints handed over: a copy that is whole, cards that say what was done, nobody's file replaced."""

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from artefact_files import write_mask_file
from pruning_calls import prune
from transformers import AutoModelForCausalLM

from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.pruning.masks.mask_copy import copy_masks, mask_places
from calibrant.pruning.masks.mask_file import read_masks, weights_path
from calibrant.pruning.masks.mask_record import mask_metadata
from calibrant.pruning.masks.model_card import Measured, model_card, stated_licence
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint


@pytest.fixture(scope="module")
def made(tiny_model_dir: Path, tiny_calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with masks of Wanda, and of SparseGPT with its weights."""
    folder = tmp_path_factory.mktemp("made")
    for method in ("wanda", "sparsegpt"):
        output = folder / f"{method}.safetensors"
        prune(tiny_model_dir, tiny_calibration, method, "0.5", output=output, device="cpu", progress=False)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_copy_is_masks_with_their_own_weights(made: Path, tmp_path: Path) -> None:
    """Whatever lay there of earlier masks, and wherever a kill came."""
    wanda, sparsegpt = made / "wanda.safetensors", made / "sparsegpt.safetensors"
    output = tmp_path / "masks.safetensors"
    assert copy_masks(tmp_path, sparsegpt) == ["masks.safetensors", "masks.weights.safetensors"]
    first = contents(tmp_path)
    assert output.read_bytes() == sparsegpt.read_bytes()
    assert weights_path(output).read_bytes() == weights_path(sparsegpt).read_bytes()
    read_masks(output).check(weights=True)
    assert copy_masks(tmp_path, wanda) == ["masks.safetensors"]
    assert not weights_path(output).exists()
    assert not read_masks(output).weights_updated
    shutil.copyfile(weights_path(sparsegpt), weights_path(output))  # as after a kill between the two
    assert copy_masks(tmp_path, sparsegpt) == ["masks.safetensors", "masks.weights.safetensors"]
    assert contents(tmp_path) == first
    for name in ("masks.safetensors", "masks.weights.safetensors"):
        (tmp_path / name).unlink()
        copy_masks(tmp_path, sparsegpt)
        assert contents(tmp_path) == first


@pytest.mark.parametrize("place", range(3))
def test_masks_of_the_users_stay(place: int, made: Path, tmp_path: Path) -> None:
    masks = made / "sparsegpt.safetensors"
    path = mask_places(tmp_path)[place].path
    if path.name == "masks.safetensors":  # a file of ours, of another command
        shutil.copyfile(made / "wanda.safetensors", path)
    else:
        path.write_text("precious")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=path.name):
        copy_masks(tmp_path, masks)
    assert contents(tmp_path) == before


def test_damaged_masks_are_not_handed_over(made: Path, tmp_path: Path) -> None:
    for name in contents(made):
        shutil.copyfile(made / name, tmp_path / name)
    damaged = weights_path(tmp_path / "sparsegpt.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\0\0\0\x40")
    with pytest.raises(InputError, match="changed since, or damaged"):
        copy_masks(tmp_path / "answer", tmp_path / "sparsegpt.safetensors")
    assert not (tmp_path / "answer").exists()


def card_of(card: str) -> tuple[dict[str, Any], str]:
    head, body = card.removeprefix("---\n").split("---\n", 1)
    return yaml.safe_load(head), body


def test_a_card_says_what_was_done(made: Path) -> None:
    masks = mask_metadata(made / "sparsegpt.safetensors")
    head, body = card_of(
        model_card(
            {**masks, "model": "owner/base"},
            calibration="wiki, written by the model",
            recipe=["calibrant sample"],
            measured=[Measured("perplexity of use", 20.0, 23.456, "95 % interval 23 to 24"), Measured("kl", None, 0.5)],
            said="it is 3 % better than the reference",
            licence="Apache-2.0",
        )
    )
    assert head["base_model"] == "owner/base"
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "transformers"
    assert "sparsegpt" in head["tags"]
    for said in (
        "# base, pruned by sparsegpt to 50 %",
        f"{100 * masks['achieved_sparsity']:.2f} % achieved",
        "changed weights that it kept, too",
        f"wiki, written by the model, 4 sequences of 24 tokens (sha256 `{masks['calibration_sha256']}`)",
        "| perplexity of use | 20 | 23.46 | 95 % interval 23 to 24 |",
        "| kl |  | 0.5 | not stated |",
        "It is 3 % better than the reference.",
        "calibrant sample\ncalibrant prune --model owner/base --calibration set.parquet --method sparsegpt",
        "That of the base model: Apache-2.0.",
        'from_pretrained("model")',
    ):
        assert said in body


def test_a_card_of_magnitude_and_of_a_pattern(tmp_path: Path, tiny_model_dir: Path) -> None:
    output = tmp_path / "m.safetensors"
    prune(tiny_model_dir, None, "magnitude", "2:4", output=output, device="cpu", progress=False)
    head, body = card_of(model_card(mask_metadata(output)))
    assert "base_model" not in head  # a folder's name is no name of a hub
    assert head["license"] == "unknown"
    assert "to 2:4\n" in body
    assert "magnitude reads no calibration data" in body
    assert "--calibration" not in body
    assert "Nothing was measured" in body


@pytest.mark.parametrize(
    ("method", "sparsity", "options", "said"),
    [
        ("owl", "0.6", {"owl.lambda": "0.05", "owl.exact_target": "true"}, True),
        ("owl", "0.6", {"owl.lambda": "0.05", "owl.exact_target": "true"}, False),
        ("ria", "2:4", {"ria.exponent": "0.3"}, False),
        ("magnitude", "0.5", {}, False),
    ],
)
def test_the_commands_of_a_card_make_the_same_checkpoint(
    method: str,
    sparsity: str,
    options: dict[str, str],
    said: bool,
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny-llama").symlink_to(tiny_model_dir)
    shutil.copyfile(tiny_calibration, "set.parquet")
    prune("tiny-llama", "set.parquet", method, sparsity, options, output="own.safetensors", progress=False)
    card = model_card(mask_metadata("own.safetensors"), options=options if said else None)
    write_pruned_checkpoint("tiny-llama", "own.safetensors", "own", card)
    for line in card.split("```sh\n")[1].split("\n```")[0].splitlines():
        program, *words = shlex.split(line)
        assert program == "calibrant"
        assert main(words) == 0, line
    mine, theirs = contents(Path("own")), contents(Path("model"))
    assert mine.pop("README.md").decode() == card
    for each in (mine, theirs):
        each.pop("provenance.json")  # which lists the card
    assert mine == theirs
    code = card.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert float((names["model"].model.layers[0].self_attn.q_proj.weight == 0).float().mean()) > 0.4
    assert AutoModelForCausalLM.from_pretrained("own").num_parameters() == names["model"].num_parameters()


def test_a_checkpoint_with_a_card_is_replaced_by_one_without(tmp_path: Path, tiny_model_dir: Path, made: Path) -> None:
    for card in ("# card\n", None, "# card\n"):
        write_pruned_checkpoint(tiny_model_dir, made / "wanda.safetensors", tmp_path / "out", card)
        assert (tmp_path / "out/README.md").exists() == (card is not None)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ""),
        ({"README.md": "---\nlicense: mit\n---\n# x"}, "mit"),
        ({"README.md": "---\nlicense: other\nlicense_name: own terms\n---\n"}, "own terms"),
        ({"README.md": "---\nlicense: [mit]\n---\n"}, ""),
        ({"README.md": "---\n: [\n---\n"}, ""),
        ({"README.md": "# nothing"}, ""),
        ({"provenance.json": "no json"}, ""),
        ({"README.md": "---\nlicense: mit\n---\n", "provenance.json": '{"licence": "Apache-2.0"}'}, "Apache-2.0"),
    ],
)
def test_the_licence_that_a_folder_states(files: dict[str, str], expected: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert stated_licence(tmp_path) == expected
    assert stated_licence(tmp_path / "hub-id") == ""


def test_masks_of_no_pruning_run_have_a_card(tmp_path: Path) -> None:
    """What another program wrote by `write_masks` names neither number format nor sequences."""
    import torch

    path = write_mask_file(tmp_path / "m.safetensors", {"model.layers.0.a": torch.ones(2, 8, dtype=torch.bool)})
    assert "reads no calibration data" in model_card(mask_metadata(path))
    assert copy_masks(tmp_path / "answer", path) == ["masks.safetensors"]


def test_the_card_of_a_checkpoint_that_takes_images_loads_it_so(tmp_path: Path) -> None:
    import torch

    path = write_mask_file(tmp_path / "m.safetensors", {"model.layers.0.a": torch.ones(2, 8, dtype=torch.bool)})
    head, body = card_of(model_card(mask_metadata(path), loader="AutoModelForMultimodalLM"))
    assert "pipeline_tag" not in head
    assert "from transformers import AutoModelForMultimodalLM, AutoTokenizer\nmodel = AutoModelForMult" in body
