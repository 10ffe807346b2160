"""Fixtures of the pruning tests: the golden model's calibration set as Parquet, and a small random set."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from one_thread import one_thread  # noqa: F401
from safetensors.torch import load_file

from calibrant.artefacts.parquet import write_table


def write_ids(path: Path, ids: np.ndarray) -> Path:
    write_table(path, pa.table({"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}), {})
    return path


@pytest.fixture(scope="session")
def golden_dir(shared_dir: Path) -> Path:
    return shared_dir / "golden" / "pruning"


@pytest.fixture(scope="session")
def golden_calibration(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ids = load_file(golden_dir / "calibration.safetensors")["input_ids"].numpy()
    return write_ids(tmp_path_factory.mktemp("golden") / "calibration.parquet", ids)


@pytest.fixture(scope="session")
def tiny_calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ids = np.random.default_rng(0).integers(3, 300, (4, 24))
    return write_ids(tmp_path_factory.mktemp("tiny") / "calibration.parquet", ids)
