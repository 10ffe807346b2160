"""Evaluation items that occur in the calibration sources, as a table."""

from collections.abc import Mapping

import polars as pl

from calibrant.reporting.results.readable import default_label
from calibrant.reporting.tables.table import Column, Row, Section, Table
from calibrant.scoring.shingles import NAMES

SHOWN = 5  # items that a row names


def contamination_table(frame: pl.DataFrame, labels: Mapping[str, str]) -> list[Table]:
    """A section per source, a row per task and text: how many items occur in it, and which.

    Args:
        frame: rows of `calibrant contamination` (`scoring.item_contamination.SCHEMA`).
        labels: labels of the sources, in the order of the report.
    """
    if frame.is_empty():
        return []
    threshold = float(frame["threshold"][0])
    columns = [
        Column("items", "Items", "", 0),
        Column("compared", "Compared", "long enough", 0),
        Column("found", "Found", f"share ≥ {threshold:g}", 0),
        Column("found_share", "Found", "% of compared", 2),
        Column("highest", "Highest share", "", 2),
        Column("which", "Which", kind="below"),
    ]
    named = list(dict.fromkeys(frame["source"]))
    sections = []
    for source in [s for s in labels if s in named] + [s for s in named if s not in labels]:
        of_source = frame.filter(pl.col("source") == source)
        rows = []
        for evaluation in dict.fromkeys(of_source["evaluation"]):
            items = of_source.filter(pl.col("evaluation") == evaluation)
            compared = items.filter(pl.col("share").is_not_null())
            found = compared.filter(pl.col("share") >= threshold).sort("share", "item", descending=[True, False])
            rows.append(
                Row(
                    evaluation,
                    [
                        len(items),
                        len(compared),
                        len(found),
                        100 * len(found) / len(compared) if len(compared) else None,
                        max(compared["share"].to_list(), default=None),
                        _which(found),
                    ],
                )
            )
        sections.append(Section(labels.get(source, default_label(source)), rows))
    units = " or ".join(NAMES[unit] for unit in sorted(set(frame["unit"]), reverse=True))
    runs = [f"{n} {NAMES[unit]}" for unit, n in sorted(set(zip(frame["unit"], frame["n"], strict=True)), reverse=True)]
    caption = (
        f"Of each item of a task and each document of a text, the runs of {' or '.join(runs)} that it "
        "shares with one document of the source, as a share of the smaller of the two; the document that shares most "
        f"counts. Found: a share of {threshold:g} or more. Items with fewer {units} in a row are too short "
        "to be compared. Counted exactly, over all documents that calibration sets are drawn from, not only the drawn "
        "ones."
    )
    return [Table("Evaluation items in the calibration text", caption, "Evaluation", columns, sections)]


def _which(found: pl.DataFrame) -> str | None:
    """The first few items with their shares and documents."""
    said = [
        f"{row['item']} ({row['share']:.2f}, in {row['doc_id']})" for row in found.head(SHOWN).iter_rows(named=True)
    ]
    more = len(found) - len(said)
    return "; ".join([*said, *([f"and {more} more"] if more else [])]) or None
