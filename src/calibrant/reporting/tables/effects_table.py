"""Figure 1 in numbers: calibration text against method."""

from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.inference.effects import effects
from calibrant.reporting.inference.ranges import Range
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.source_claims import data_against_method
from calibrant.reporting.results.cells import kind_of, target_label
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.table import Column, Row, Section, Table


def effects_table(data: StudyResults, decisions: Decisions) -> list[Table]:
    """The ranges in numbers: a section per outcome, a row per target."""
    sections = []
    for measure in data.headline:
        shown = []
        for target in data.targets:
            found = effects(data, target, measure)
            if found.text is None and found.method is None:
                continue
            answer = data_against_method(Scope(data, measure), target)
            contrast = answer.contrasts[0] if answer and answer.contrasts else None
            side = decisions.single(contrast).side if contrast else 0
            moves = {1: "text", -1: "method", 0: "undecided"}[side]
            difference = [None, None] if contrast is None else [contrast.estimate.mean, contrast.estimate]
            shown.append(Row(target_label(target), [*_cells(found.text), *_cells(found.method), *difference, moves]))
        if shown:
            sections.append(Section(f"{measure.label}, {measure.unit_of_scores}", shown))
    if not sections:
        return []
    columns = [
        column
        for key, title in (("texts", "Texts"), ("methods", "Methods"))
        for column in (
            Column(key, title, "number", 0),
            Column(f"{key}_range", "Range", "max − min"),
            Column(f"{key}_low", "from", "95 %"),
            Column(f"{key}_high", "to", "95 %"),
        )
    ]
    columns += [
        Column("difference", "Difference", "of ranges", signed=True),
        Column("interval", "95 % interval", signed=True, kind="interval"),
        Column("moves_more", "Moves more", kind="text"),
    ]
    caption = (
        "Range of the mean scores of the texts, each averaged over the methods, and of the methods, each averaged "
        "over the texts; 95 % intervals from the studentized range over sets. A range grows with the number of things "
        "compared. Difference: the range of the texts minus that of the methods. Its interval compares each pair of "
        "texts with each pair of methods and allows for their number. 'Moves more' names one only where p is below "
        "0.05."
    )
    return [Table("Calibration text against method", caption, kind_of(data.targets).capitalize(), columns, sections)]


def _cells(found: Range | None) -> list[float | int | None]:
    return [None] * 4 if found is None else [found.groups, found.value, found.low, found.high]
