"""Min-K%++ of real and self-generated text in numbers."""

from collections.abc import Mapping

import polars as pl

from calibrant.reporting.inference.generated_claims import min_k_contrast
from calibrant.reporting.inference.superiority import score_groups
from calibrant.reporting.results.samples import middle
from calibrant.reporting.tables.table import Column, Row, Section, Table


def min_k_table(scores: pl.DataFrame, labels: Mapping[str, str]) -> list[Table]:
    """Medians, and how often a self-generated sample scores higher than a real one; a section per written text."""
    groups = score_groups(scores, labels)
    columns = [
        Column("samples", "Samples", decimals=0),
        Column("median", "Median", decimals=3),
        Column("higher", "Self-gen. higher", "% of pairs, above 50", 1, signed=True),
        Column("interval", "95 % interval", "", 1, signed=True, kind="interval"),
    ]
    sections = []
    written: list[str | None] = [source for source, origin in groups if origin == "synthetic"]
    for source in written or [None]:
        shown = []
        if source is not None:
            own = groups[source, "synthetic"]
            shown.append(Row("self-generated", [len(own), middle(own), None, None], "synthetic"))
        for (other, origin), values in groups.items():
            if origin == "real":
                found = None if source is None else min_k_contrast(groups, source, other, labels)
                cells = [None, None] if found is None else [found.estimate.mean, found.estimate]
                shown.append(Row(labels[other], [len(values), middle(values), *cells], "real"))
        sections.append(Section("" if source is None else f"Self-generated from {labels[source]}", shown))
    if not groups:
        return []
    caption = (
        "Self-gen. higher: in how many of 100 pairs a self-generated sample scores higher than a real one, less 50 "
        "(area "
        "under the ROC curve; 0 means no difference). Intervals: DeLong, with samples taken as independent; a sample "
        "that "
        "was drawn into several sets counts once."
    )
    return [Table("Min-K%++ of real and self-generated text", caption, "Text", columns, sections)]
