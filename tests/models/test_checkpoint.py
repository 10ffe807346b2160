"""A checkpoint is opened once: what it says, when it reads, and that those who use it leave it as it is."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, MambaConfig

from calibrant.errors import InputError
from calibrant.models.checkpoint import checkpoint, checkpoint_files
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint, open_checkpoint
from calibrant.models.checkpoint.checkpoint_files import fingerprint, tokenizer_sha256
from calibrant.models.checkpoint.loading import load_model
from calibrant.models.checkpoint.streaming import StreamedModel

CPU = torch.device("cpu")


def test_what_it_says(tiny_model_dir: Path) -> None:
    found = open_checkpoint(str(tiny_model_dir))
    assert found.path == tiny_model_dir
    assert isinstance(found.config, LlamaConfig)
    assert found.text_config is found.config
    assert (found.vocabulary, found.positions, found.dtype) == (400, 128, torch.float32)
    assert found.id == tiny_model_dir.name
    assert found.sha256 == fingerprint(tiny_model_dir)
    assert found.tokenizer_sha256 == tokenizer_sha256(tiny_model_dir)
    assert found.weight_files == [tiny_model_dir / "model.safetensors"]


def test_what_a_configuration_does_not_say(tmp_path: Path) -> None:
    config = MambaConfig()
    config.dtype = None
    found = Checkpoint(tmp_path, config)
    assert found.positions is None
    assert found.dtype is None
    for ask in (lambda: found.sha256, lambda: found.tokenizer_sha256, lambda: found.weight_files):
        with pytest.raises(InputError):
            ask()


def test_an_open_one_is_not_opened_again(tiny_model_dir: Path) -> None:
    found = open_checkpoint(tiny_model_dir)
    assert as_checkpoint(found) is found
    assert as_checkpoint(tiny_model_dir).path == found.path


def test_opening_reads_no_weights_and_hashes_are_taken_once(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: Counter[str] = Counter()

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def counting(path: str | Path, *more: Any) -> Any:
            hashed[Path(path).name] += 1
            return original(path, *more)

        return counting

    monkeypatch.setattr(checkpoint_files, "sha256_file", counted(checkpoint_files.sha256_file))
    monkeypatch.setattr(checkpoint, "hash_and_peaks", counted(checkpoint.hash_and_peaks))
    found = open_checkpoint(tiny_model_dir)
    assert not hashed
    assert found.sha256 == found.sha256
    assert found.tokenizer_sha256 == found.tokenizer_sha256
    assert hashed["model.safetensors"] == hashed["config.json"] == hashed["tokenizer.json"] == 1


def test_what_loads_a_model_leaves_the_configuration_as_it_is(tiny_model_dir: Path) -> None:
    """transformers writes the number format and the kernels that it computes with into what it is given."""
    found = open_checkpoint(tiny_model_dir)
    before = json.loads(found.config.to_json_string())
    streamed = StreamedModel(found, torch.bfloat16, CPU)
    loaded = load_model(found, dtype="bfloat16", device="cpu")
    assert streamed.model.config.dtype == loaded.config.dtype == torch.bfloat16
    assert json.loads(found.config.to_json_string()) == before
    assert found.dtype == torch.float32


def test_a_missing_or_broken_model_is_refused_when_it_is_opened(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_checkpoint(tmp_path / "none")
    copy = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    (copy / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"its config\.json cannot be used"):
        open_checkpoint(copy)


def test_files_and_identity_need_no_torch() -> None:
    code = "import sys, calibrant.models.checkpoint.checkpoint_files; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
