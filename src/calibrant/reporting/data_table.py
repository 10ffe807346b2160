"""The table of what each source holds: documents, what was dropped, calibration sets, generated text."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from calibrant.reporting.samples import Pool
from calibrant.reporting.table import Column, Row, Section, Table, Value, number


def data_table(
    sources: Mapping[str, str], records: Mapping[str, dict[str, Any]], pools: Sequence[Pool], scores: pl.DataFrame
) -> Table:
    """One row per source.

    Args:
        sources: labels by name, in the order of the report.
        records: the provenance sidecar of each source, where there is one.
        pools: what `samples.read_pools` counted.
        scores: what `samples.read_scores` read.
    """
    by_key = {(pool.source, pool.origin): pool for pool in pools}
    columns = [
        Column("documents_read", "Documents", "read"),
        Column("documents_dropped", "Dropped"),
        Column("documents_kept", "Kept"),
        Column("documents_heldout", "Held out"),
        Column("real_rows", "Real rows", "all sets"),
        Column("generated_rows", "Generated", "rows"),
        Column("generated_tokens", "Generated", "tokens"),
        Column("model_ends", "Model ends", "% of rows", 0),
        Column("perplexity_real", "Perplexity", "real, median", 1),
        Column("perplexity_generated", "Perplexity", "generated, median", 1),
        Column("min_k_real", "Min-K%++", "real, median", 2),
        Column("min_k_generated", "Min-K%++", "generated, median", 2),
        Column("reasons", "Why dropped", kind="text"),
    ]
    rows = []
    for name, label in sources.items():
        counts = records.get(name, {}).get("counts") or {}
        reasons = counts.get("dropped")
        real, generated = by_key.get((name, "real")), by_key.get((name, "synthetic"))
        ends = generated.model_ends if generated else None
        cells: list[Value] = [
            counts.get("read"),
            sum(reasons.values()) if isinstance(reasons, dict) else None,
            counts.get("kept"),
            counts.get("heldout"),
            real.rows if real else None,
            generated.rows if generated else None,
            generated.tokens if generated else None,
            None if ends is None else 100.0 * ends,
            median(scores, name, "real", "perplexity"),
            median(scores, name, "synthetic", "perplexity"),
            median(scores, name, "real", "min_k_plus_plus"),
            median(scores, name, "synthetic", "min_k_plus_plus"),
            why_dropped(reasons),
        ]
        rows.append(Row(label, cells))
    return Table(
        "What the calibration text is made of",
        "Documents after download, what was dropped and why, and what was kept apart for evaluation items; rows of "
        "all real calibration sets; text that the model wrote, before filtering. Model ends: share of the rows that "
        "the model ended, or would have ended before their last token had special tokens not been suppressed. "
        "Perplexity and Min-K%++ are of the unpruned model; more predictable text has lower perplexity and higher "
        "Min-K%++.",
        "Source",
        columns,
        [Section("", rows)],
    )


def why_dropped(reasons: Any) -> str | None:
    """`88 too short, 12 duplicate`, most frequent first; None without a record, `none` when nothing was."""
    if not isinstance(reasons, dict):
        return None
    found = sorted(((count, reason) for reason, count in reasons.items() if count), key=lambda x: (-x[0], x[1]))
    return ", ".join(f"{number(count, 0)} {reason.replace('_', ' ')}" for count, reason in found) or "none"


def median(scores: pl.DataFrame, source: str, origin: str, column: str) -> float | None:
    """Median of a score over the rows of one text; None without scores."""
    chosen = scores.filter((pl.col("source") == source) & (pl.col("origin") == origin))[column]
    value = chosen.median()
    return float(value) if isinstance(value, int | float) else None
