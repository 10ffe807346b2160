"""Masks, updated weights and statistics are what their records say, and belong to each other."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from artefact_files import read_parts, with_metadata, write_mask_file, write_parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pruning_calls import prune

from calibrant.artefacts.contents import record
from calibrant.artefacts.digest import canonical_json
from calibrant.artefacts.tensor_files import TensorFile, write_tensors
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.pruning.masks.mask_file import read_masks, weights_path
from calibrant.pruning.masks.masked_model import load_pruned_model
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint
from calibrant.pruning.run.statistics_file import DenseStatistics, write_dense_statistics

MASKS = {
    "model.layers.0.x": torch.tensor([[True, False, True], [False, False, True]]),
    "model.layers.1.x": torch.ones(2, 9, dtype=torch.bool),
}
few = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
JUNK = st.sampled_from([None, 5, -1.5, "x", [], [5], {}, {"a": None}, True])
NEEDED = ("model", "model_sha256", "method", "sparsity", "requested_sparsity", "achieved_sparsity", "layers", "linears")


def resealed(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy with other metadata and digests that fit them, as a program would write that is wrong."""

    def written(found: dict[str, Any]) -> dict[str, Any]:
        parts = found.pop("contents")["parts"]
        change(found)
        return record(found, parts)

    return with_metadata(source, target, written)


@pytest.fixture(scope="module")
def sparsegpt(tiny_model_dir: Path, tiny_calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sparsegpt") / "masks.safetensors"
    prune(tiny_model_dir, tiny_calibration, "sparsegpt", "0.5", output=output, device="cpu", progress=False)
    return output


@pytest.fixture
def mine(sparsegpt: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    for source in (sparsegpt, weights_path(sparsegpt)):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    return tmp_path / sparsegpt.name


@few
@given(place=st.integers(0, 5), bit=st.integers(0, 7))
def test_a_turned_bit_of_a_mask_is_noticed(tmp_path: Path, place: int, bit: int) -> None:
    file = write_mask_file(tmp_path / "m.safetensors", MASKS)
    header, body = read_parts(file)
    write_parts(file, header, body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :])
    opened = read_masks(file)
    with pytest.raises(InputError, match=r"tensor model\.layers\.[01]\.x is not what it was made with"):
        opened.check()
    with pytest.raises(InputError, match="changed since, or damaged; make it again"):
        dict(opened.masks.items())


@few
@given(key=st.sampled_from(NEEDED), junk=JUNK)
def test_metadata_that_do_not_fit_are_refused_though_the_digests_do(tmp_path: Path, key: str, junk: Any) -> None:
    file = write_mask_file(tmp_path / "m.safetensors", MASKS)
    fits = {"model": str, "method": str, "sparsity": str, "linears": dict, "layers": list}.get(key, type(None))
    if isinstance(junk, fits) and junk not in ([5], {"a": None}, None):
        return
    resealed(file, tmp_path / "o.safetensors", lambda found: found.update({key: junk}))
    with pytest.raises(InputError, match=rf"its metadata key {key}[.0a]* is .*; it must be"):
        read_masks(tmp_path / "o.safetensors")
    resealed(file, tmp_path / "o.safetensors", lambda found: found.pop(key))
    with pytest.raises(InputError, match=f"its metadata key {key} is missing"):
        read_masks(tmp_path / "o.safetensors")


@pytest.mark.parametrize("shape", [5, [1, 2, 3], ["2", "3"], [None, None], [2, 0], [2, -3], [2, 20], [3, 3]])
def test_shapes_are_those_of_the_bytes(tmp_path: Path, shape: Any) -> None:
    file = write_mask_file(tmp_path / "m.safetensors", MASKS)
    resealed(file, tmp_path / "o.safetensors", lambda found: found["shapes"].update({"model.layers.0.x": shape}))
    with pytest.raises(InputError, match=r"shapes\.model\.layers\.0\.x|for a mask of"):
        read_masks(tmp_path / "o.safetensors")


def test_masks_without_their_models_hash_are_applied_to_none(mine: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    commands = [
        ["apply", "--model", str(tiny_model_dir), "--masks", str(mine), "--output", str(output)],
        ["inspect", str(mine)],
    ]
    assert [main(command) for command in commands] == [0, 0]
    with_metadata(mine, mine, lambda found: {k: v for k, v in found.items() if k != "model_sha256"})
    assert [main(command) for command in commands] == [2, 2]


@pytest.mark.parametrize("change", ["other", "nan", "one bit", "truncated", "model", "missing"])
def test_updated_weights_are_those_of_the_masks(
    change: str, mine: Path, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    place = weights_path(mine)
    header, body = read_parts(place)
    if change == "other":
        other = tmp_path / "other.safetensors"
        prune(tiny_model_dir, tiny_calibration, "sparsegpt", "0.6", output=other, device="cpu", progress=False)
        place.write_bytes(weights_path(other).read_bytes())
    elif change == "nan":
        tensors = {name: TensorFile(place, "x").get(name).clone() for name in header if name != "__metadata__"}
        next(iter(tensors.values()))[0, 0] = math.nan
        known = {**TensorFile(place, "x").metadata}
        sha256 = write_tensors(place, tensors, known)
        resealed(mine, mine, lambda found: found.update(weights_sha256=sha256))
    elif change == "one bit":
        write_parts(place, header, body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])
    elif change == "truncated":
        place.write_bytes(place.read_bytes()[:-500])
    elif change == "model":
        place.write_bytes((tiny_model_dir / "model.safetensors").read_bytes())
    else:
        place.unlink()
    expected = {
        "other": "are the updated weights of other masks",
        "nan": "holds NaN or infinite numbers",
        "one bit": "is not what it was made with",
        "truncated": "perhaps truncated",
        "model": "no file of calibrant",
        "missing": "its updated weights are missing",
    }[change]
    with pytest.raises(InputError, match=expected):
        load_pruned_model(tiny_model_dir, mine, device="cpu")
    with pytest.raises(InputError, match=expected):
        write_pruned_checkpoint(tiny_model_dir, mine, tmp_path / "out")
    with pytest.raises(InputError, match=expected):
        read_masks(mine).check(weights=True)
    assert not (tmp_path / "out").exists()


def test_control_characters_stay_off_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_mask_file(tmp_path / "m.safetensors", MASKS, method="\x1b[2Jevil", model="a\nb")
    assert main(["inspect", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "model: a\\nb\n" in shown


@few
@given(
    key=st.sampled_from(["leaders", "counts", "kinds", "model_sha256", "calibration_sha256", "dtype"]),
    junk=st.sampled_from([None, 5, "x", [5], {"model.layers.0.x": 5}, {"model.layers.0.x": ["a", "b"]}, math.pi]),
)
def test_statistics_that_are_none(tmp_path: Path, key: str, junk: Any) -> None:
    known = {
        "stage": "statistics", "leaders": {"x": "x"}, "counts": {"x": [2, 8]}, "kinds": ["norm"],
        "model_sha256": "0" * 64, "calibration_sha256": "1" * 64,
        "dtype": "float32", "device": "cpu", "attention": "sdpa", "products": "plain",
    }  # fmt: skip
    file = tmp_path / "s.safetensors"
    tensors = {"x.squared_norm": torch.ones(4)}
    write_tensors(file, tensors, known)
    assert DenseStatistics(file, known, ["norm"]).of(["x"], torch.device("cpu"))["x"].tokens == 8
    if key == "dtype" and junk == "x":
        return
    for metadata in ({**known, key: junk}, {k: v for k, v in known.items() if k != key}):
        write_tensors(file, tensors, metadata)
        with pytest.raises(InputError, match=f"its metadata key {key}"):
            DenseStatistics(file, known, ["norm"])
    write_tensors(file, {"x.squared_norm": torch.full((4,), math.nan)}, known)
    with pytest.raises(InputError, match=r"x\.squared_norm holds NaN"):
        DenseStatistics(file, known, ["norm"])
    write_tensors(file, {"y.squared_norm": torch.ones(4)}, known)
    with pytest.raises(InputError, match="lacks squared_norm of x"):
        DenseStatistics(file, known, ["norm"])


def test_statistics_that_were_changed(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.safetensors"
    write_dense_statistics(*(tiny_model_dir, tiny_calibration, ["norm"]), output=file, device="cpu", progress=False)
    header, body = read_parts(file)
    write_parts(file, header, body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(InputError, match="is not what it was made with"):
        prune(
            *(tiny_model_dir, tiny_calibration, "owl", "0.5"),
            output=tmp_path / "m.safetensors",
            statistics=file,
            device="cpu",
            progress=False,
        )
    assert list(tmp_path.iterdir()) == [file]


def test_masks_are_the_same_bytes_for_the_same_contents(tmp_path: Path) -> None:
    one, two = (write_mask_file(tmp_path / f"{name}.safetensors", MASKS) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    text = read_parts(one)[0]["__metadata__"]["calibrant"]
    assert canonical_json(json.loads(text)) == text
