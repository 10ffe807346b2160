"""Samples and their scores as the report needs them: distributions, counts, and a few rows to read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import read_table
from calibrant.calibration.sample_set import read_samples
from calibrant.errors import InputError
from calibrant.reporting.results.index import Index, TableFile
from calibrant.scoring.corpus_similarity import SIMILARITY
from calibrant.scoring.item_contamination import CONTAMINATION
from calibrant.scoring.score_table import read_scores as read_score_table

SCORES = {
    "source": pl.String,
    "origin": pl.String,
    "seed": pl.Int64,
    "sample_id": pl.Int64,
    "perplexity": pl.Float64,
    "min_k_plus_plus": pl.Float64,
    "tokens": pl.Int64,
}


@dataclass(frozen=True)
class Pool:
    """The samples of one source and origin: all sets (seeds) of real text, or all generated rows.

    Attributes:
        source, origin: what text it is.
        sets: number of files.
        rows, tokens: over all files.
        model_ends: share of the rows that the model ended, or would have ended before the last token had
            special tokens not been suppressed; None where that was not recorded.
        lengths: shortest and longest row in tokens.
    """

    source: str
    origin: str
    sets: int
    rows: int
    tokens: int
    model_ends: float | None
    lengths: tuple[int, int]


@dataclass(frozen=True)
class Excerpt:
    """One row to read."""

    sample_id: int
    seed: int | None
    text: str
    doc_ids: tuple[str, ...]
    prefix_length: int | None
    tokens: int
    perplexity: float | None
    min_k: float | None
    rank: str


def read_scores(files: Sequence[TableFile]) -> pl.DataFrame:
    """All scores in one frame with the columns of `SCORES`.

    Raises:
        InputError: a file is missing, truncated, or has not the columns of `calibrant score`.
    """
    frames = []
    for file in files:
        table, _ = read_score_table(file.path)
        frame = pl.DataFrame(table).with_columns(
            pl.lit(file.source).alias("source"),
            pl.lit(file.origin).alias("origin"),
            pl.lit(file.seed, dtype=pl.Int64).alias("seed"),
        )
        frames.append(frame.select(pl.col(name).cast(kind) for name, kind in SCORES.items()))
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCORES)


def read_contamination(file: str | None) -> pl.DataFrame:
    """The table of `calibrant contamination`; no rows without a file.

    Raises:
        InputError: it is missing, truncated, or has not the columns of `calibrant contamination`.
    """
    table = CONTAMINATION.schema.empty_table() if file is None else read_table(file, form=CONTAMINATION)[0]
    frame = pl.DataFrame(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(CONTAMINATION.names)


def check_scores(index: Index) -> None:
    """Refuse scores of other samples than those that the index names for the same text and seed.

    Scores that do not say what they were made from, and scores without samples, pass.

    Raises:
        InputError: the recorded hash of the samples fits none of the files; or a file is missing.
    """
    for file in index.scores:
        _, metadata = read_score_table(file.path)
        expected = metadata.get("inputs", {}).get("samples")
        mates = [s for s in index.samples if (s.source, s.origin, s.seed) == (file.source, file.origin, file.seed)]
        if expected and mates and expected not in {sha256_file(mate.path) for mate in mates}:
            raise InputError(
                f"{file.path}: was made from samples with sha256 {expected[:12]}..., which is not {mates[0].path}; "
                "score those samples again"
            )


def read_pools(files: Sequence[TableFile]) -> list[Pool]:
    """Counts for every (source, origin), in the order in which the files name them.

    Raises:
        InputError: a file is missing, truncated, or has no `input_ids`.
    """
    grouped: dict[tuple[str, str], list[TableFile]] = {}
    for file in files:
        grouped.setdefault((file.source, file.origin), []).append(file)
    return [_pool(source, origin, members) for (source, origin), members in grouped.items()]


def _pool(source: str, origin: str, files: Sequence[TableFile]) -> Pool:
    lengths: list[int] = []
    ended: float | None = 0.0
    for file in files:
        read = read_samples(file.path)
        table, metadata = read.table, read.metadata
        lengths += _lengths(table)
        share = (metadata.get("model_ends") or {}).get("share")
        ended = None if share is None or ended is None else ended + share * table.num_rows
    share = None if ended is None else ended / len(lengths)
    return Pool(source, origin, len(files), len(lengths), sum(lengths), share, (min(lengths), max(lengths)))


def _lengths(table: pa.Table) -> list[int]:
    return list(pc.list_value_length(table["input_ids"]).to_pylist())


def excerpts(files: Sequence[TableFile], scores: pl.DataFrame, source: str, origin: str, count: int) -> list[Excerpt]:
    """A few rows of one source and origin that stand for the whole: spread evenly over the ranks of perplexity.

    Three of 40 rows are those of rank 7, 21 and 34, low to high. Without scores the first rows are taken.

    Raises:
        InputError: a file is missing, or has no text.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        if (file.source, file.origin) == (source, origin):
            table = read_samples(file.path).table
            if "text" not in table.column_names:
                raise InputError(f"{file.path}: has no column text; its columns are {', '.join(table.column_names)}")
            lengths = _lengths(table)
            for row, length in zip(table.drop_columns("input_ids").to_pylist(), lengths, strict=True):
                rows.append({**row, "seed": file.seed, "length": length})
    chosen = scores.filter((pl.col("source") == source) & (pl.col("origin") == origin))
    known = {(r["seed"], r["sample_id"]): r for r in chosen.iter_rows(named=True)}
    scored = [(known[key], row) for row in rows if (key := (row["seed"], row.get("sample_id"))) in known]
    if not scored:
        return [_excerpt(row, None, f"row {i + 1} of {len(rows)}") for i, row in enumerate(rows[:count])]
    scored.sort(key=lambda pair: (pair[0]["perplexity"], pair[0]["seed"] or 0, pair[0]["sample_id"]))
    total, shown = len(scored), min(count, len(scored))
    ranks = [math.floor((i + 0.5) / shown * total) for i in range(shown)]
    return [_excerpt(scored[r][1], scored[r][0], f"{r + 1} of {total} by perplexity") for r in ranks]


def _excerpt(row: dict[str, Any], score: dict[str, Any] | None, rank: str) -> Excerpt:
    return Excerpt(
        sample_id=int(row.get("sample_id") or 0),
        seed=row["seed"],
        text=str(row["text"] or ""),
        doc_ids=tuple(row.get("doc_ids") or ()),
        prefix_length=row.get("prefix_length"),
        tokens=row["length"],
        perplexity=None if score is None else score["perplexity"],
        min_k=None if score is None else score["min_k_plus_plus"],
        rank=rank,
    )


def read_similarity(files: Sequence[str]) -> pl.DataFrame:
    """All tables of `calibrant similarity` in one frame, in the order of the files.

    Raises:
        InputError: a file is missing, truncated, or has not the columns of `calibrant similarity`.
    """
    empty = pl.DataFrame(SIMILARITY.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    frames = [pl.DataFrame(read_table(file, form=SIMILARITY)[0]).select(SIMILARITY.names) for file in files]
    return pl.concat([empty, *frames])


def median(scores: pl.DataFrame, source: str, origin: str, column: str) -> float | None:
    """Median of a score over the rows of one text (`middle`); None without scores."""
    values = text_scores(scores, source, origin, column)
    return middle(values) if len(values) else None


def text_scores(scores: pl.DataFrame, source: str, origin: str, column: str) -> npt.NDArray[np.float64]:
    """The finite scores of one text [rows]; a row that was drawn into several sets counts once."""
    rows = scores.filter((pl.col("source") == source) & (pl.col("origin") == origin))
    values = rows.unique(["perplexity", "min_k_plus_plus"], maintain_order=True)[column].drop_nulls().to_numpy()
    return np.asarray(values[np.isfinite(values)], dtype=np.float64)


def middle(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """The median of scores as they are: the one that every table and figure shows, whatever its axis."""
    return float(np.median(values))
