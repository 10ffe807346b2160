"""The numbers of a figure: a row for each outcome and cell, with its mean and spread over seeds."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.results.cells import Cell
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults

ESTIMATES: dict[str, Any] = {
    **dict.fromkeys(("measure", "method", "sparsity", "source", "origin"), pl.String),
    **dict.fromkeys(("samples", "prefix_length"), pl.Int64),
    "drop": pl.Float64,
    **dict.fromkeys(("mean", "sd", "low", "high"), pl.Float64),
    "n": pl.Int64,
    "values": pl.String,
}


def estimates_frame(data: StudyResults, measures: Sequence[Measure], cells: Iterable[Cell]) -> pl.DataFrame:
    """Means, deviations, 95 % intervals and single shown values, columns `ESTIMATES`; what was not run is left out."""
    rows = []
    for measure in measures:
        for cell in cells:
            found = cell_estimate(data, cell, measure)
            if found is not None:
                spread = {name: getattr(found, name) for name in ("mean", "sd", "low", "high", "n")}
                values = " ".join(f"{v:.6g}" for v in data.values(cell, measure).values())
                rows.append({"measure": measure.key, **cell.columns, **spread, "values": values})
    return pl.DataFrame(rows, schema=ESTIMATES)
