"""Figure 1 in numbers: calibration text against method."""

from calibrant.reporting.inference.effects import effects
from calibrant.reporting.inference.ranges import Range
from calibrant.reporting.results.cells import sparsity_label
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.table import Column, Row, Section, Table


def effects_table(data: StudyResults) -> list[Table]:
    """The ranges in numbers: a section per outcome, a row per sparsity."""
    sections = []
    decimals = max((m.decimals for m in data.headline), default=2)
    for measure in data.headline:
        shown = []
        for sparsity in data.sparsities:
            found = effects(data, sparsity, measure)
            if found.text is None and found.method is None:
                continue
            verdict = {"text": "text", "method": "method"}.get(found.verdict, "undecided")
            shown.append(Row(sparsity_label(sparsity), [*_cells(found.text), *_cells(found.method), verdict]))
        if shown:
            sections.append(Section(f"{measure.label}, {rows.direction(measure)}", shown))
    columns = [
        column
        for key, title in (("texts", "Texts"), ("methods", "Methods"))
        for column in (
            Column(key, title, "number", 0),
            Column(f"{key}_range", "Range", "max − min", decimals),
            Column(f"{key}_low", "from", "95 %", decimals),
            Column(f"{key}_high", "to", "95 %", decimals),
        )
    ]
    caption = (
        "Range of the means of the texts, each averaged over the methods, and of the methods, each averaged over the "
        "texts; 95 % intervals from the studentized range over seeds. A range grows with the number of "
        "things compared. Moves more: names one only where the two intervals do not overlap."
    )
    if not sections:
        return []
    columns.append(Column("moves_more", "Moves more", kind="text"))
    return [Table("Calibration text against method", caption, "Sparsity", columns, sections)]


def _cells(found: Range | None) -> list[float | int | None]:
    return [None] * 4 if found is None else [found.groups, found.value, found.low, found.high]
