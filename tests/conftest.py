"""Fixtures that every test folder shares: a tiny model made on the spot, and where golden and real data lie."""

import os
from pathlib import Path

import hypothesis
import pytest
from support import ROOT, make_text

# As `calibrant prune` does for SparseGPT: before anything is computed, and for workers of pytest-xdist too.
os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "AVX2")

# Processors differ tenfold, and jobs share them: no example is wrong because it was slow.
hypothesis.settings.register_profile("calibrant", deadline=None)
hypothesis.settings.load_profile("calibrant")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with golden and real data beside the checkout (or CALIBRANT_SHARED); skips when absent."""
    path = Path(os.environ.get("CALIBRANT_SHARED", ROOT.parent / "shared"))
    if not (path / "golden").is_dir():
        pytest.skip(f"golden and real data are not here ({path}); set CALIBRANT_SHARED to run this test")
    return path


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 2-layer random Llama (float32, grouped heads) with a byte-level BPE tokenizer trained on the spot."""
    from calibrant.models.tiny import write_tiny_model

    path = tmp_path_factory.mktemp("tiny") / "tiny-llama"
    write_tiny_model(path, [make_text(2000, 0)], vocabulary=400, positions=128, seed=0)
    return path
