"""Result frames with known values, as `result_frame.collect` gives them, for the layouts of tables and figures."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from calibrant.reporting.results.index import Study
from calibrant.reporting.results.result_frame import COLUMNS

SOURCES = ("c4", "wikipedia", "slimpajama", "dclm")
LABELS = {"c4": "C4", "wikipedia": "Wikipedia", "slimpajama": "SlimPajama", "dclm": "DCLM"}
TASKS = ("boolq", "winogrande", "piqa", "hellaswag", "arc_easy", "arc_challenge", "mmlu")
SHIFT = {"c4": 0.0, "wikipedia": -0.020, "slimpajama": -0.004, "dclm": 0.004}  # of accuracy, real text
SYNTHETIC = 0.008  # of accuracy, against DCLM
LEVELS = {"0.3": 0.70, "0.4": 0.695, "0.5": 0.685, "0.6": 0.64, "0.65": 0.58, "4:8": 0.66, "2:4": 0.62}
WEIGHT = {"0.3": 0.02, "0.4": 0.05, "0.5": 0.25, "0.6": 1.0, "0.65": 1.2, "4:8": 0.6, "2:4": 0.8}
EVEN = {"boolq": 0.5, "winogrande": 0.5, "piqa": 0.5} | dict.fromkeys(TASKS[3:], 0.25)  # all tasks are above chance
METHODS = {"wanda": 0.0, "dsnot": -0.007, "owl": 0.009}

Quality = Callable[[dict[str, Any]], float]


def quality(cell: dict[str, Any]) -> float:
    """The true mean accuracy of a cell."""
    if cell["method"] == "dense":
        return 0.72
    if cell["method"] == "magnitude":
        return LEVELS[cell["sparsity"]] - 0.012
    shift = SHIFT[cell["source"]] if cell["origin"] == "real" else SHIFT["dclm"] + SYNTHETIC
    if cell["prefix_length"] is not None and cell["origin"] == "synthetic":
        shift -= 0.002 * np.log2(max(cell["prefix_length"], 1) / 2 + 1)
    if cell["drop"] is not None and cell["origin"] == "synthetic":
        shift -= 0.2 * (cell["drop"] - 0.15) ** 2
    return LEVELS[cell["sparsity"]] + METHODS[cell["method"]] + WEIGHT[cell["sparsity"]] * shift


def make_frame(
    *,
    methods: Iterable[str] = ("wanda", "dsnot", "owl"),
    sparsities: Iterable[str] = ("0.6",),
    sources: Iterable[str] = SOURCES,
    origins: Iterable[str] = ("real", "synthetic"),
    synthetic_sources: Iterable[str] | None = None,
    samples: Iterable[int] = (128,),
    prefixes: Iterable[int] = (4,),
    drops: Iterable[float] = (0.2,),
    seeds: int = 5,
    tasks: Iterable[str] = TASKS,
    text: str | None = "alpaca",
    noise: float = 0.002,
    items: int = 2000,
    true: Quality = quality,
    chances: Mapping[str, float] | None = None,
    seed: int = 3,
) -> pl.DataFrame:
    """Dense, magnitude and every combination, values drawn around `true` (less noise with more samples).

    `chances`: what guessing scores on the items, where the evaluations record it (`EVEN`).
    """
    rng = np.random.default_rng(seed)
    empty = {"source": None, "origin": None, "seed": None, "samples": None, "prefix_length": None, "drop": None}
    cells: list[dict[str, Any]] = [{"method": "dense", "sparsity": "0", **empty}]
    for sparsity in sparsities:
        cells.append({"method": "magnitude", "sparsity": sparsity, **empty})
        for method, source, origin, n, number in itertools.product(methods, sources, origins, samples, range(seeds)):
            fixed = {"method": method, "sparsity": sparsity, "source": source, "origin": origin, "seed": number,
                     "samples": n}  # fmt: skip
            if origin == "real":
                cells.append({**fixed, "prefix_length": None, "drop": None})
            elif synthetic_sources is None or source in synthetic_sources:
                cells += [{**fixed, "prefix_length": p, "drop": d} for p, d in itertools.product(prefixes, drops)]
    rows = []
    for cell in cells:
        level = true(cell)
        scale = noise * (128 / cell["samples"]) ** 0.25 if cell["samples"] else 0.0
        common = {"model": "m", **cell, "achieved_sparsity": None, "num_fewshot": 0, "task_version": "1",
                  "split": "test"}  # fmt: skip
        for i, task in enumerate(tasks):
            value = level + 0.05 * (i - 3) + scale * rng.standard_normal()
            error = (value * (1 - value) / items) ** 0.5
            rows += [{**common, "task": task, "metric": metric, "value": value + plus, "stderr": error, "n": items,
                      "chance": (chances or {}).get(task)}
                     for metric, plus in (("acc", 0.0), ("acc_norm", 0.01))]  # fmt: skip
        if text is not None:
            value = 8 * np.exp(4 * (0.72 - level) + scale * rng.standard_normal())
            rows.append({**common, "task": text, "metric": "perplexity", "value": value, "stderr": 0.1, "n": 8192})
    return pl.DataFrame(rows, schema=COLUMNS)


def make_study(**options: Any) -> Study:
    """The study that goes with the frames."""
    return Study(name="fake", model_id="m", sources=tuple(LABELS.items()), **options)
