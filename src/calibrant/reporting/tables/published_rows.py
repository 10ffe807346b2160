"""The paper's numbers as rows below ours.

A frame of published numbers has the columns `method`, `sparsity`, `source`, `origin`, `task`, `metric`, `mean`, `sd`
and `n` (values as printed: per cent, perplexity; `published.tables`). A null `method` or `source` is one that the paper
does not name; a mean over tasks has task `average`; a damaged cell has a null `mean`.
"""

from collections.abc import Sequence

import polars as pl

from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import Cell
from calibrant.reporting.results.measures import AVERAGE, Measure
from calibrant.reporting.tables.table import Row, Value

TASKS = frozenset(("boolq", "winogrande", "piqa", "hellaswag", "arc_easy", "arc_challenge", "mmlu"))  # of its average
LABEL = "as published"
UNNAMED = "as published, method not stated"


def published_value(published: pl.DataFrame, cell: Cell, measure: Measure) -> Estimate | None:
    """The paper's value of one cell, None where it has none.

    Its average is over all seven tasks, so that an average of other tasks has no counterpart here.
    """
    if measure.kind == "average" and {task for task, _ in measure.members} != TASKS:
        return None
    same_task = pl.col("task") == (AVERAGE if measure.kind == "average" else measure.task)
    if measure.kind != "average":
        same_task &= (pl.col("metric") == measure.metric) | pl.col("metric").is_null()
    found = published.filter(
        (pl.col("method") == cell.method) | pl.col("method").is_null(),
        pl.col("sparsity") == cell.target,
        pl.col("source").eq_missing(pl.lit(cell.source)),
        pl.col("origin").eq_missing(pl.lit(cell.origin)),
        same_task,
        pl.col("mean").is_not_null(),
    )
    if found.is_empty():
        return None
    row = found.row(0, named=True)
    return Estimate(row["mean"], row["sd"], row["n"] or 0)


def published_change(published: pl.DataFrame | None, cell: Cell, measure: Measure) -> Estimate | None:
    """The published Δ of a cell's average, None where there is none."""
    if published is None or measure.kind != "average":
        return None
    return published_value(
        published.with_columns(task=pl.col("task").replace({"change": AVERAGE, AVERAGE: None})), cell, measure
    )


def published_row(
    published: pl.DataFrame | None,
    places: Sequence[tuple[Cell | None, Measure]],
    more: Sequence[Value] = (),
    label: str | None = None,
) -> list[Row]:
    """A row of the paper's values, or none where it has no value for these cells.

    Args:
        published: the paper's numbers for this model; None: there are none.
        places: the cell and measure of each column; a source of None with origin `synthetic` asks for text of an
            unnamed source, and no cell for none.
        more: cells behind those of the measures.
        label: of the row; by default it says so where the paper does not name the method.
    """
    if published is None:
        return []
    values = [None if cell is None else published_value(published, cell, measure) for cell, measure in places]
    if all(value is None for value in values):
        return []
    named = {cell.method for cell, _ in places if cell is not None} & set(published["method"])
    return [Row(label or (LABEL if named else UNNAMED), [None, *values, *more], "published")]
