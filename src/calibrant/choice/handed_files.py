"""What a race hands over: the set in every form, its masks, and on request the pruned checkpoint."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.sample_set import read_samples
from calibrant.calibration.set_export import write_dataset, write_jsonl
from calibrant.study.grid import Run
from calibrant.study.paths import StudyPaths


def write_handed(folder: Path, config: Mapping[str, Any], run: Run, facts: Mapping[str, Any], model: Path) -> int:
    """Write a set and its masks into a folder; returns the set's tokens."""
    paths = StudyPaths(config["study"])
    assert run.calibration is not None
    calibration, masks = Path(paths.calibration_set(run.calibration)), Path(paths.masks(run))
    samples = read_samples(calibration)
    shutil.copyfile(calibration, folder / "set.parquet")
    write_jsonl(folder / "set.jsonl", samples.table)
    write_dataset(folder / "dataset", samples.table, {"stage": "export", "sha256": sha256_file(calibration)})
    (folder / "set.txt").write_text("\n\n".join(samples.table["text"].to_pylist()), encoding="utf-8")
    shutil.copyfile(masks, folder / "masks.safetensors")
    return sum(map(len, samples.sequences))
