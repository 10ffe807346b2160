"""Sections that several pages have: what was asked, the calibration text, settings, limits, provenance."""

from collections.abc import Sequence

from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.pages.sections import (
    Block,
    Browser,
    FigurePlace,
    Pairs,
    Paragraph,
    Records,
    Section,
    Side,
    Statements,
    tables,
)
from calibrant.reporting.results.samples import excerpts, read_pools
from calibrant.reporting.tables.data_table import data_table, documents_table
from calibrant.reporting.tables.table import Table


def asked(inputs: Inputs, question: str) -> Section:
    """The question, and the model."""
    study = inputs.study
    note = f": {study.model_note}" if study.model_note else ""
    licence = f" Licence of the weights: {study.model_licence}." if study.model_licence else ""
    blocks: list[Block] = [
        Paragraph(study.question or question),
        Paragraph(f"The model is {study.model_id}{note}.{licence}"),
    ]
    return Section("question", "Question", "What was asked", blocks)


def text_tables(inputs: Inputs, labels: dict[str, str]) -> dict[str, list[Table]]:
    """What each source holds, and what the calibration text is made of."""
    return {
        "documents": [documents_table(labels, inputs.documents)],
        "data": [data_table(labels, read_pools(inputs.index.samples), inputs.scores)],
    }


def calibration_text(inputs: Inputs, made: dict[str, list[Table]], figures: Sequence[Drawing] = ()) -> Section:
    """Tables of `text_tables` and others, and figures of the text."""
    blocks: list[Block] = []
    for name, found in made.items():
        if name != "documents" or inputs.documents:
            blocks += tables(found)
    blocks += drawn(figures)
    return Section("data", "Calibration text", "The calibration text", blocks)


def browser(inputs: Inputs, labels: dict[str, str], *, real_text: bool, rows: int) -> Section:
    """A few rows of each text, generated ones first; sources without any are left out."""
    groups = []
    for source, label in labels.items():
        sides = []
        for origin, title in (("synthetic", "Written by the model"), ("real", "Real")):
            if origin == "real" and not real_text:
                continue
            found = excerpts(inputs.index.samples, inputs.scores, source, origin, rows)
            if found:
                sides.append(Side(title, found))
        if sides:
            count = sum(len(side.rows) for side in sides)
            groups.append((label, f"{count} rows", sides))
    left_out = "" if real_text else "Real rows are left out of this copy of the report. "
    words = (
        f"Rows at evenly spaced ranks of perplexity, in full, as the model sees them. {left_out}Generated rows are "
        "shown before filtering; each begins with a few tokens of a real document."
    )
    blocks: list[Block] = [Paragraph(words), Browser(groups)] if groups else []
    return Section("browser", "Read it yourself", "Read it yourself", blocks)


def closing(inputs: Inputs, limitations: Sequence[str] = ()) -> list[Section]:
    """Settings, limits and provenance."""
    study = inputs.study
    notes: list[Block] = [Paragraph(note, note=True) for note in study.notes]
    limits = [*limitations, *study.limitations]
    machine: list[Block] = [Pairs(study.machine)] if study.machine else []
    settings: list[Block] = [Pairs(study.settings), *notes] if study.settings else notes
    return [
        Section("settings", "Settings", "Settings", settings),
        Section(
            "limitations",
            "Limitations",
            "What this study cannot say",
            [Statements([Statement(limit) for limit in limits])] if limits else [],
        ),
        Section("provenance", "Provenance", "Provenance", [Records(inputs.records), *machine]),
    ]


def drawn(figures: Sequence[Drawing]) -> list[Block]:
    """A place for each figure."""
    return [FigurePlace(figure.name) for figure in figures]
