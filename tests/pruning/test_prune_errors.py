"""What users do wrong, and the one line that each mistake gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from calibrant.artefacts.parquet import write_table
from calibrant.cli.main import main
from calibrant.settings.method_targets import METHODS
from calibrant.settings.setting import one_of


@pytest.fixture
def arguments(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "--model": tiny_model_dir,
        "--calibration": tiny_calibration,
        "--method": "wanda",
        "--sparsity": "0.5",
        "--device": "cpu",
        "--output": tmp_path / "out" / "masks.safetensors",
    }


def refused(capsys: pytest.CaptureFixture[str], arguments: dict[str, Any]) -> str:
    given = [str(part) for key, value in arguments.items() if value is not None for part in (key, value)]
    assert main(["prune", *given]) == 2
    *progress, message = capsys.readouterr().err.splitlines()
    assert all(line == "" or "it/s" in line for line in progress)
    assert not Path(arguments["--output"]).exists()
    return message


def ids_file(path: Path, ids: np.ndarray) -> Path:
    write_table(path, pa.table({"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}), {})
    return path


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"--sparsity": "1.2"}, "sparsity 1.2: outside 0 to 1; give a share to prune between 0 and 1"),
        ({"--sparsity": "5:4"}, "sparsity 5:4: N must be at least 1 and below M"),
        ({"--sparsity": "2:5"}, "model.layers.0.self_attn.q_proj: its 32 input features cannot be divided into groups"),
        ({"--method": "wander"}, f"--method wander: unknown; use {one_of(METHODS)}"),
        ({"--option": "owl.lambda=1"}, "method wanda has no such option; it has exclude, fused, group, sequential"),
        ({"--option": "exclude"}, "--option exclude: must be KEY=VALUE"),
        ({"--option": "exclude=("}, "option exclude=(: not a regular expression"),
        (
            {"--option": "exclude=q_porj"},
            "option exclude=q_porj: matches no linear layer of this model; they are model.l",
        ),
        (
            {"--method": "owl", "--option": "owl.lambda=0.6"},
            "option owl.lambda=0.6: must be a number, at least 0, at m",
        ),
        ({"--option": "exclude=.*"}, "no linear layer is left to prune after exclude=.*"),
        (
            {"--method": "dsnot", "--option": "exclude=self_attn"},
            "method dsnot: its scope holds no linear layer of this model; choose a wider one",
        ),
        ({"--calibration": None}, "method wanda needs calibration data; give --calibration SET.parquet"),
        ({"--calibration": "absent.parquet"}, "calibration set absent.parquet: no such file"),
        ({"--model": "absent-model"}, "model absent-model: no such folder, and not a hub id"),
        ({"--dtype": "int4"}, "--dtype int4: unknown; use auto, float32"),
        ({"--threads": "-1"}, "--threads -1: must be 0"),
    ],
)
def test_mistakes_are_named(
    capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], change: dict[str, Any], expected: str
) -> None:
    assert expected in refused(capsys, {**arguments, **change})


def test_tokens_of_another_tokenizer(
    capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], tmp_path: Path
) -> None:
    path = ids_file(tmp_path / "foreign.parquet", np.full((2, 8), 50_000))
    assert "token id 50000 is outside the model's vocabulary" in refused(capsys, {**arguments, "--calibration": path})


def test_output_below_a_file(capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = refused(capsys, {**arguments, "--output": tmp_path / "file" / "masks.safetensors"})
    assert "is not a folder" in message


def test_layers_too_different_for_owl(capsys: pytest.CaptureFixture[str], arguments: dict[str, Any]) -> None:
    wide = {"--method": "owl", "--sparsity": "0.9", "--option": "owl.lambda=0.5"}
    assert "option owl.lambda=0.5: decoder layer" in refused(capsys, {**arguments, **wide})
