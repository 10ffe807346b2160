"""The table of what each source holds: documents, what was dropped, calibration sets, generated text."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.samples import Pool, median
from calibrant.reporting.tables.table import Column, Row, Section, Table, Value


def documents_table(sources: Mapping[str, str], records: Mapping[str, dict[str, Any]]) -> Table:
    """One row per source: documents read, dropped (with reasons) and kept.

    Args:
        sources: labels by name, in the order of the report.
        records: the provenance sidecar of each source, where there is one.
    """
    columns = [
        Column("read", "Read"),
        Column("dropped", "Dropped"),
        Column("kept", "Kept"),
        Column("heldout", "Held out"),
        Column("characters", "Characters", "kept"),
        Column("reasons", "Why dropped", kind="text"),
    ]
    rows = []
    for name, label in sources.items():
        counts = records.get(name, {}).get("counts") or {}
        reasons = counts.get("dropped")
        total = sum(reasons.values()) if isinstance(reasons, dict) else None
        numbers = [counts.get("read"), total, counts.get("kept"), counts.get("heldout"), counts.get("characters")]
        rows.append(Row(label, [*numbers, why_dropped(reasons)]))
    return Table(
        "Documents of each source",
        "Held-out documents are never calibrated on; next-sentence tasks are made of them.",
        "Source",
        columns,
        [Section("", rows)],
    )


def data_table(sources: Mapping[str, str], pools: Sequence[Pool], scores: pl.DataFrame) -> Table:
    """One row per source: calibration sets of real text, generated text, and how predictable both are.

    Args:
        sources: labels by name, in the order of the report.
        pools: what `samples.read_pools` counted.
        scores: what `samples.read_scores` read.
    """
    by_key = {(pool.source, pool.origin): pool for pool in pools}
    columns = [
        Column("real_rows", "Real", "rows, all sets"),
        Column("generated_rows", "Generated", "rows"),
        Column("generated_tokens", "Generated", "tokens"),
        Column("model_ends", "Model ends", "% of rows", 0),
        Column("perplexity_real", "Perplexity", "real", 1),
        Column("perplexity_generated", "Perplexity", "generated", 1),
        Column("min_k_real", "Min-K%++", "real", 2),
        Column("min_k_generated", "Min-K%++", "generated", 2),
    ]
    rows = []
    for name, label in sources.items():
        real, generated = by_key.get((name, "real")), by_key.get((name, "synthetic"))
        ends = generated.model_ends if generated else None
        cells: list[Value] = [
            real.rows if real else None,
            generated.rows if generated else None,
            generated.tokens if generated else None,
            None if ends is None else 100.0 * ends,
            median(scores, name, "real", "perplexity"),
            median(scores, name, "synthetic", "perplexity"),
            median(scores, name, "real", "min_k_plus_plus"),
            median(scores, name, "synthetic", "min_k_plus_plus"),
        ]
        rows.append(Row(label, cells))
    return Table(
        "What the calibration text is made of",
        "Rows of all real calibration sets; text that the model wrote, before filtering. Model ends: share of the rows "
        "that the model ended, or would have ended before their last token had special tokens not been suppressed. "
        "Perplexity and Min-K%++ are medians over rows under the unpruned model; more predictable text has lower "
        "perplexity and higher Min-K%++.",
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
