"""The file of scores: perplexity and Min-K%++ of every sample."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from calibrant.artefacts.metadata_forms import keys, optional, sha256, text
from calibrant.artefacts.parquet import read_table, write_table
from calibrant.artefacts.table_form import Column, TableForm

if TYPE_CHECKING:
    from calibrant.scoring.sample_scores import Score  # which imports torch

SCORES = TableForm(
    "a file of scores",
    "calibrant score",
    (
        Column("sample_id", pa.int64(), unique=True),
        Column("perplexity", pa.float64(), low=0, nan=True),  # of a model that overflows
        Column("min_k_plus_plus", pa.float64(), nan=True),
        Column("tokens", pa.int32(), low=1),
    ),
    metadata=keys(
        {},
        {
            "stage": text,
            "library_version": text,
            "model": text,
            "model_sha256": sha256,
            "settings": keys({}),
            "inputs": keys({}, {"samples": optional(sha256)}),
        },
    ),
    stages=("score",),
)


def write_scores(
    path: str | Path, sample_ids: Sequence[int], scores: Sequence["Score"], metadata: Mapping[str, Any]
) -> None:
    """Write the scores of samples."""
    columns = {"sample_id": list(sample_ids)} | {
        name: [getattr(score, name) for score in scores] for name in SCORES.names if name != "sample_id"
    }
    write_table(path, pa.table(columns, schema=SCORES.schema), metadata)


def read_scores(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """The table of `SCORES`, and its metadata.

    Raises:
        InputError: missing, damaged, changed since, or no scores.
    """
    return read_table(path, form=SCORES)
