"""Reports about masks: overlap of two, reconstruction error on sets."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from artefact_files import write_mask_file
from pruning_calls import prune
from transformers import AutoModelForCausalLM

from calibrant.artefacts.parquet import read_table, write_table
from calibrant.calibration.sample_set import read_calibration_set
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.pruning.inspection.descriptions import figures
from calibrant.pruning.inspection.reconstruction_error import reconstruction_errors
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.masked_model import load_pruned_model


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
    few = "0.001"  # of a row's 32 weights: none
    prune(tiny_model_dir, tiny_calibration, "wanda", few, output=output, device="cpu", progress=False)
    ids = torch.from_numpy(read_calibration_set(tiny_calibration).input_ids)
    assert reconstruction_errors(tiny_model_dir, output, {"set": ids}, device="cpu") == {"set": [0.0, 0.0]}


def test_overlap_is_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, two = (torch.from_numpy(rng.random((6, 10)) < 0.5) for _ in range(2))
    write_mask_file(tmp_path / "a.safetensors", {"layers.0.x": one})
    write_mask_file(tmp_path / "b.safetensors", {"layers.0.x": two})
    (row,) = figures(tmp_path / "a.safetensors", other=tmp_path / "b.safetensors")
    assert row["kept_in_both"] == pytest.approx(float((one & two).double().mean()))
    assert row["jaccard_kept"] == pytest.approx(float((one & two).sum() / (one | two).sum()))
    assert row["jaccard_pruned"] == pytest.approx(float((~one & ~two).sum() / (~one | ~two).sum()))
    write_mask_file(tmp_path / "c.safetensors", {"layers.0.y": two})
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
    [
        (["--model", "x"], "--model and --text-set go together"),
        (["--other", "y"], "--other: goes with a mask file"),
        (["--sequences", "2"], "--sequences: limits what is read of --text-set"),
    ],
)
def test_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], tiny_calibration: Path, tiny_model_dir: Path, extra: list[str], message: str
) -> None:
    path = tiny_calibration if "--other" in extra else tiny_model_dir / "model.safetensors"
    assert main(["inspect", str(path), *extra]) == 2
    assert message in capsys.readouterr().err


def write_set(path: Path, ids: np.ndarray, documents: list[list[str]] | None = None, source: str = "web") -> Path:
    columns = {"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}
    if documents is not None:
        columns |= {"doc_ids": pa.array(documents), "source": pa.array([source] * len(ids))}
    write_table(path, pa.table(columns), {})
    return path


@pytest.fixture
def looked_at(tiny_model_dir: Path, tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """Masks, the set that they were made on, and the token ids of that set and of three more."""
    ids = np.random.default_rng(3).integers(3, 300, (4, 5, 16))
    calibration = write_set(tmp_path / "own.parquet", ids[0], [["a"], ["b"], ["c"], ["d", "e"], ["f"]])
    masks = tmp_path / "masks.safetensors"
    prune(tiny_model_dir, calibration, "wanda", "0.5", output=masks, device="cpu", progress=False)
    return masks, calibration, ids


def test_sequences_of_the_calibration_set_are_not_held_out(
    looked_at: tuple[Path, Path, np.ndarray], tiny_model_dir: Path, tmp_path: Path
) -> None:
    masks, calibration, ids = looked_at
    ids[1, 3] = ids[0, 0]  # the same tokens under another document's name
    mixed = write_set(tmp_path / "mixed.parquet", ids[1], [["x"], ["y", "e"], ["z"], ["v"], ["w"]])
    other = write_set(tmp_path / "other.parquet", ids[2], [["a"], ["b"], ["c"], ["d"], ["e"]], "news")
    same = write_set(tmp_path / "same.parquet", ids[3], [["a"], ["b"], ["c"], ["d"], ["e"]])
    sets = [calibration, mixed, other, same]
    rows = figures(masks, model=tiny_model_dir, text_sets=sets, sequences=2, device="cpu")
    kept = {"own.parquet (calibration)": ids[0, :2], "mixed.parquet": ids[1, [0, 2]], "other.parquet": ids[2, :2]}
    expected = reconstruction_errors(
        tiny_model_dir, masks, {label: torch.from_numpy(chosen) for label, chosen in kept.items()}, device="cpu"
    )
    for index, row in enumerate(rows):
        assert row["reconstruction_error"] == {**{k: v[index] for k, v in expected.items()}, "same.parquet": None}
        assert row["errors_of_sequences"]["same.parquet"] == []


def test_each_sequence_has_its_error(
    looked_at: tuple[Path, Path, np.ndarray], tiny_model_dir: Path, tmp_path: Path
) -> None:
    masks, calibration, ids = looked_at
    rows = figures(masks, model=tiny_model_dir, text_sets=[calibration], sequences=3, tokens=9, device="cpu")
    alone = [
        reconstruction_errors(tiny_model_dir, masks, {"x": torch.from_numpy(ids[0, i : i + 1, :9])}, device="cpu")["x"]
        for i in range(3)
    ]
    label = "own.parquet (calibration)"
    for index, row in enumerate(rows):
        assert row["errors_of_sequences"][label] == pytest.approx([errors[index] for errors in alone])
        assert min(row["errors_of_sequences"][label]) <= row["reconstruction_error"][label]
        assert max(row["errors_of_sequences"][label]) >= row["reconstruction_error"][label]


def test_a_set_without_held_out_sequences_is_said_to_have_none(
    capsys: pytest.CaptureFixture[str], looked_at: tuple[Path, Path, np.ndarray], tiny_model_dir: Path, tmp_path: Path
) -> None:
    masks, calibration, ids = looked_at
    again = write_set(tmp_path / "again.parquet", ids[0, ::-1])
    sets = ["--text-set", str(calibration), "--text-set", str(again)]
    assert main(["inspect", str(masks), "--model", str(tiny_model_dir), *sets, "--device", "cpu"]) == 0
    assert "no sequence" in capsys.readouterr().out


def random_masks(folder: Path, count: int, cols: int = 11) -> dict[str, dict[str, np.ndarray]]:
    """Mask files of two layers with three linears, {name: masks}; rows do not end at a byte."""
    rng = np.random.default_rng(5)
    found = {}
    for number in range(count):
        masks = {name: rng.random((6, cols)) < 0.4 for name in ("layers.1.x", "layers.1.y", "layers.10.x")}
        tensors = {n: torch.from_numpy(m) for n, m in masks.items()}
        write_mask_file(folder / f"set-{number}" / "wanda.safetensors", tensors)
        found[f"set-{number}/wanda"] = masks
    return found


def test_overlap_table_equals_a_count_of_positions(tmp_path: Path) -> None:
    masks = random_masks(tmp_path, 3)
    paths = [str(tmp_path / f"{name}.safetensors") for name in masks]
    assert main(["overlap", *paths, "--output", str(tmp_path / "table.parquet")]) == 0
    table, metadata = read_table(tmp_path / "table.parquet")
    assert set(metadata["inputs"]) == set(masks)
    rows = {(row["a"], row["b"], row["layer"]): row for row in table.to_pylist()}
    assert set(rows) == {(a, b, layer) for a, b in combinations(masks, 2) for layer in ("layers.1", "layers.10", None)}
    for (a, b, layer), row in rows.items():
        names = [name for name in masks[a] if layer is None or name.startswith(f"{layer}.")]
        pruned_a, pruned_b = (
            {(n, *position) for n in names for position in np.argwhere(~masks[which][n])} for which in (a, b)
        )
        assert row["jaccard_pruned"] == pytest.approx(len(pruned_a & pruned_b) / len(pruned_a | pruned_b))
        assert row["weights"] == 66 * len(names)


def test_independent_masks_overlap_as_chance_says(tmp_path: Path) -> None:
    random_masks(tmp_path, 2, cols=20_003)
    paths = [str(tmp_path / f"set-{number}/wanda.safetensors") for number in range(2)]
    assert main(["overlap", *paths, "--output", str(tmp_path / "table.parquet")]) == 0
    for row in read_table(tmp_path / "table.parquet")[0].to_pylist():
        assert row["jaccard_pruned"] == pytest.approx(row["jaccard_pruned_by_chance"], abs=0.005)
        assert row["jaccard_pruned_by_chance"] == pytest.approx(0.6 / 1.4, abs=0.005)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set-0/wanda.safetensors"], "an overlap needs two"),
        (["set-0/wanda.safetensors", "./set-0/wanda.safetensors"], "two files are called set-0/wanda"),
        (["set-0/wanda.safetensors", "odd/wanda.safetensors"], "cannot be compared"),
        (["set-0/wanda.safetensors", "none.safetensors"], "no such file"),
    ],
)
def test_masks_that_have_no_overlap(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    random_masks(tmp_path, 1)
    write_mask_file(tmp_path / "odd" / "wanda.safetensors", {"layers.1.x": torch.ones(2, 3, dtype=torch.bool)})
    monkeypatch.chdir(tmp_path)
    assert main(["overlap", *arguments, "--output", "table.parquet"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("table.parquet").exists()


def test_sets_that_cannot_be_told_apart(
    looked_at: tuple[Path, Path, np.ndarray], tiny_model_dir: Path, tmp_path: Path
) -> None:
    masks, calibration, ids = looked_at
    (tmp_path / "b").mkdir()
    twin = write_set(tmp_path / "b" / "own.parquet", ids[1])
    with pytest.raises(InputError, match=r"two files are called own\.parquet"):
        figures(masks, model=tiny_model_dir, text_sets=[calibration, twin], device="cpu")
    with pytest.raises(InputError, match="--tokens -1: must be 0"):
        figures(masks, model=tiny_model_dir, text_sets=[calibration], tokens=-1, device="cpu")
