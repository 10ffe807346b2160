"""The file of measures: sums and counts by document and item, so that everything later can be resampled.

One row for each unit (a text's document, a task's item) and measure. A mean is the sum of sums over the sum of counts:

| measure | sum | count |
|---|---|---|
| loss | negative log-likelihood of a document's predicted tokens, nats | predicted tokens |
| kl | Kullback-Leibler divergence from the dense model over these tokens, nats | predicted tokens |
| agreement | tokens whose most probable token is the dense model's | predicted tokens |
| acc, acc_norm, ... | lm-eval's metric of an item | 1 |
| flips, flips_norm, ... | 1 where the item's answer is not the dense model's | 1 |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from calibrant.artefacts.metadata_forms import keys, optional, sha256, text
from calibrant.artefacts.parquet import read_table, write_table
from calibrant.artefacts.table_form import Column, TableForm

SUFFIX = ".measures.parquet"  # beside the results
LOSS, DIVERGENCE, AGREEMENT, FLIPS = "loss", "kl", "agreement", "flips"
MEASURES = TableForm(
    "a file of measures",
    "calibrant evaluate --measures",
    (
        Column("evaluation", pa.string()),  # the text's or task's name
        Column("kind", pa.string()),  # text | task
        Column("unit", pa.string()),  # the document's or item's name
        Column("number", pa.int64(), low=0),  # of the unit, in the evaluation's order
        Column("measure", pa.string()),
        Column("sum", pa.float64()),
        Column("count", pa.int64(), low=1),
    ),
    metadata=keys({}, {"stage": text, "model": text, "model_sha256": sha256, "masks_sha256": optional(sha256)}),
    stages=("evaluate",),
)


@dataclass(frozen=True)
class UnitMeasures:
    """One measure of all units of an evaluation.

    Attributes:
        evaluation: the text's or task's name.
        kind: `text` or `task`.
        units: names of the documents or items.
        measure: see the module.
        sums, counts: of each unit. A unit that counts nothing is left out of the file.
    """

    evaluation: str
    kind: str
    units: Sequence[str]
    measure: str
    sums: Sequence[float]
    counts: Sequence[int]


def measure_rows(found: Sequence[UnitMeasures]) -> pa.Table:
    """The table of `MEASURES`."""
    rows = [
        (each.evaluation, each.kind, unit, number, each.measure, value, count)
        for each in found
        for number, (unit, value, count) in enumerate(zip(each.units, each.sums, each.counts, strict=True))
        if count
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(MEASURES.names)
    return pa.table(dict(zip(MEASURES.names, columns, strict=True)), schema=MEASURES.schema)


def write_measures(path: str | Path, found: Sequence[UnitMeasures], metadata: Mapping[str, Any]) -> None:
    """Write the measures of one model."""
    write_table(path, measure_rows(found), metadata)


def read_measures(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """The table of `MEASURES`, and its metadata.

    Raises:
        InputError: missing, damaged, changed since, or no measures.
    """
    return read_table(path, form=MEASURES)
