"""Sequences that run side by side give the statistics and masks of one thread, to the bit."""

from pathlib import Path

import pytest
import torch
from pruning_calls import prune

from calibrant.pruning.run.statistics_file import write_dense_statistics


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["wanda", "dsnot"])
def test_same_masks(method: str, dtype: str, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    for threads in (1, 3):
        torch.set_num_threads(threads)
        output, where = tmp_path / f"{threads}.safetensors", {"device": "cpu", "dtype": dtype, "progress": False}
        prune(tiny_model_dir, tiny_calibration, method, "0.5", output=output, **where)  # type: ignore[arg-type]
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "3.safetensors").read_bytes()


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_same_statistics(threads: int, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{count}.safetensors" for count in (1, threads)]
    for file, count in zip(files, (1, threads), strict=True):
        torch.set_num_threads(count)
        kinds = ("norm", "moments")
        write_dense_statistics(tiny_model_dir, tiny_calibration, kinds, output=file, device="cpu", progress=False)
    assert files[0].read_bytes() == files[1].read_bytes()
