"""Min-K%++ of real and self-generated text in numbers."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from calibrant.reporting.inference.superiority import score_groups, superiority
from calibrant.reporting.tables.table import Column, Row, Section, Table


def min_k_table(scores: pl.DataFrame, sources: Mapping[str, str]) -> list[Table]:
    """Medians, and how often a self-generated sample scores higher than a real one; a section per written text."""
    groups = score_groups(scores, sources)
    columns = [
        Column("samples", "Samples", decimals=0),
        Column("median", "Median", decimals=3),
        Column("higher", "Self-gen. higher", "% of pairs", 1),
        Column("higher_low", "from", "95 %", 1),
        Column("higher_high", "to", "95 %", 1),
    ]
    sections = []
    generated: list[tuple[str, str] | None] = [key for key in groups if key[1] == "synthetic"]
    for written in generated or [None]:
        shown = []
        if written is not None:
            own = groups[written]
            shown.append(Row("self-generated", [len(own), float(np.median(own)), None, None, None], "synthetic"))
        for key, values in groups.items():
            if key[1] == "real":
                found = None if written is None else superiority(groups[written], values)
                shares: list[float | None] = (
                    [None] * 3 if found is None else [None if f is None else 100 * f for f in found]
                )
                shown.append(Row(sources[key[0]], [len(values), float(np.median(values)), *shares], "real"))
        sections.append(Section("" if written is None else f"Self-generated from {sources[written[0]]}", shown))
    if not groups:
        return []
    caption = (
        "Self-gen. higher: how often a self-generated sample scores higher than a real one, over all pairs (area under "
        "the ROC curve; 50 % means no difference). Intervals: DeLong, with samples taken as independent; sets of "
        "several seeds may share documents, which makes them somewhat too narrow."
    )
    return [Table("Min-K%++ of real and self-generated text", caption, "Text", columns, sections)]
