"""A pruning run reads a configuration once and hashes the weights once, whoever asks for them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers.configuration_utils import PreTrainedConfig

from calibrant.models.checkpoint import checkpoint
from calibrant.pruning.inspection.descriptions import figures
from calibrant.pruning.methods.composition import compose
from calibrant.pruning.run.model_pruning import prune_model
from calibrant.pruning.run.run_inputs import open_model

Reads = tuple[list[Path], Counter[str]]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """The config.json files that transformers reads, and how often each file is hashed, from now on."""
    configs: list[Path] = []
    hashed: Counter[str] = Counter()
    read, digest = PreTrainedConfig._dict_from_json_file, checkpoint.hash_and_peaks

    def reading(path: str | Path) -> dict[str, object]:
        configs.append(Path(path))
        return dict(read(path))

    def hashing(path: Path, tensors: Any) -> tuple[str, dict[str, float]]:
        hashed[path.name] += 1
        return digest(path, tensors)

    monkeypatch.setattr(PreTrainedConfig, "_dict_from_json_file", reading)
    monkeypatch.setattr(checkpoint, "hash_and_peaks", hashing)
    return configs, hashed


def test_pruning_and_inspecting(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path, reads: Reads) -> None:
    configs, hashed = reads
    output = tmp_path / "masks.safetensors"
    method = compose("owl", "0.5")
    streamed = open_model(tiny_model_dir, "auto", "cpu", kinds=method.needs)
    metadata = prune_model(streamed, method, tiny_calibration, output, progress=False)
    assert configs == [tiny_model_dir / "config.json"]
    assert hashed["model.safetensors"] == 1

    rows = figures(output, model=streamed.checkpoint, text_sets=[tiny_calibration], device="cpu")
    assert len(rows) == len(metadata["layers"])
    assert configs == [tiny_model_dir / "config.json"]
    assert hashed["model.safetensors"] == 1
