"""From evaluation files to one tidy table: a row for each model, calibration set, method, target, task and metric."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from calibrant.artefacts.atomic import atomic_path
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.metadata_forms import either, keys, listed, number, one_of, optional, text, whole
from calibrant.artefacts.parquet import write_table
from calibrant.artefacts.provenance import read_described
from calibrant.errors import InputError
from calibrant.pruning.masks.mask_record import mask_metadata
from calibrant.reporting.results.index import Index, Run

COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "source": pl.String,  # null: a method without data
    "origin": pl.String,  # real | synthetic | null
    "method": pl.String,
    "sparsity": pl.String,  # the target: 0.6, 2:4, w4g64, 0.5+w4g64; 0 for dense
    "seed": pl.Int64,
    "task": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "stderr": pl.Float64,  # over the task's items (or the text's windows), not over seeds
    "n": pl.Int64,  # items, or tokens of a text
    "achieved_sparsity": pl.Float64,  # from the masks; 0 for the dense model; null when no masks were given
    "samples": pl.Int64,
    "prefix_length": pl.Int64,
    "drop": pl.Float64,
    "num_fewshot": pl.Int64,
    "task_version": pl.String,
    "split": pl.String,
    "chance": pl.Float64,  # accuracy of the best constant answer to the same items; null where not recorded
}
RUN = ("model", "source", "origin", "method", "target", "seed", "samples", "prefix_length", "drop")


def collect(runs: Iterable[Run]) -> pl.DataFrame:
    """Read every run's evaluation and put them into one tidy frame with `COLUMNS`, in the order of the runs.

    Raises:
        InputError: an evaluation or mask file is missing or malformed.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        fixed = {name if name != "target" else "sparsity": getattr(run, name) for name in RUN}
        fixed["achieved_sparsity"] = achieved_sparsity(run)
        rows += [{**fixed, **row} for row in read_evaluation(run.evaluation)]
    return pl.DataFrame(rows, schema=COLUMNS)


EVALUATION = listed(
    keys(
        {"task": text, "metric": text, "value": number()},
        {
            "stderr": either(optional(number(0)), one_of(["N/A"])),  # lm-eval's word for none
            **dict.fromkeys(("n", "num_fewshot"), either(optional(whole()), one_of(["N/A"]))),
            "task_version": either(optional(text), number()),
            "split": optional(text),
            "chance": optional(number(0, 1)),
        },
    )
)


def read_evaluation(path: str | Path) -> list[dict[str, Any]]:
    """The rows of one RESULTS.json: task, metric, value, stderr, n, num_fewshot, task_version, split.

    Raises:
        InputError: not a list of such rows, a value that is not a finite number, a (task, metric) twice, or rows that
            were changed since they were written.
    """
    raw, _ = read_described(path)
    if not isinstance(raw, list) or not raw:
        raise InputError(f"{path}: must hold a list of results with at least one entry")
    if fault := EVALUATION(raw):
        raise InputError(f"{path}: entry {fault[0].replace('.', ', ', 1)} {fault[1]}")
    rows, seen = [], set()
    for number_, entry in enumerate(raw):
        key = (entry["task"], entry["metric"])
        if key in seen:
            raise InputError(f"{path}: entry {number_} repeats task {key[0]}, metric {key[1]}")
        seen.add(key)
        version = entry.get("task_version")
        told = {name: entry.get(name) for name in ("task", "metric", "split", "chance")}
        counts = {name: entry.get(name) for name in ("stderr", "n", "num_fewshot")}
        known = {name: None if value == "N/A" else value for name, value in counts.items()}
        text_of_version = None if version is None else str(version)
        rows.append({**told, **known, "value": float(entry["value"]), "task_version": text_of_version})
    return rows


def achieved_sparsity(run: Run) -> float | None:
    """The share of weights that a run's masks remove, as the mask file records it; 0 for the dense model.

    Raises:
        InputError: the mask file is missing, damaged, or does not record it.
    """
    if run.method == "dense":
        return 0.0
    if run.masks is None:
        return None
    return float(mask_metadata(run.masks)["achieved_sparsity"])


def write_results(folder: Path, frame: pl.DataFrame, index: Index) -> None:
    """Write `results.parquet` (with the hash of every evaluation in its metadata) and `results.csv`."""
    hashes = {run.label: sha256_file(run.evaluation) for run in index.runs}
    metadata = {"study": index.study.name, "model": index.study.model_id, "inputs": hashes}
    write_parquet(folder / "results.parquet", frame, metadata)
    write_csv(folder / "results.csv", frame)


def write_parquet(path: Path, frame: pl.DataFrame, metadata: dict[str, Any]) -> None:
    """Write a frame as Parquet with plain string columns."""
    from calibrant.version import __version__

    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    write_table(path, table, {**metadata, "library_version": __version__})


def write_csv(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame as CSV; an empty field is a missing value."""
    with atomic_path(path) as temporary:
        frame.write_csv(temporary)
