"""The page of all targets: the paper's conclusions judged by all their runs, then every table and figure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.inference.conclusions import judge_study
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.inference.limits import limitations
from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.inference.statements import found
from calibrant.reporting.pages.common_sections import asked, browser, calibration_text, closing, drawn, text_tables
from calibrant.reporting.pages.inputs import Inputs, read_inputs
from calibrant.reporting.pages.report import Report
from calibrant.reporting.pages.sections import Block, Folded, Page, Paragraph, Section, Statements, tables
from calibrant.reporting.pages.study_page import varied_note
from calibrant.reporting.pages.target_page import NOTHING, chosen_layout, facts
from calibrant.reporting.results.index import Index, TargetReport
from calibrant.reporting.tables.claims_table import claims_table, untested, verdicts
from calibrant.reporting.tables.result_tables import items_table
from calibrant.reporting.tables.table import Table

QUESTION = (
    "The paper asks whether the text that a model is calibrated on decides how good it is after pruning, and whether "
    "text that the model writes itself serves best. This page judges each of its conclusions by the runs of one model "
    "and shows every table and figure of the paper for that model."
)


def paper_report(inputs: Inputs, parts: Mapping[TargetReport, Index], *, real_text: bool, rows: int) -> Report:
    """Conclusions, and what the layout of each target makes.

    Args:
        inputs: of the index that names the targets, with the runs of all of them (`inputs.gathered`).
        parts: the index of each target.
        real_text: whether the page's browser shows rows of real text.
        rows: rows that the browser shows of each text.
    """
    inputs = varied_note(inputs)
    study, labels = inputs.study, inputs.labels()
    judged = judge_study(inputs.data, inputs.scores, inputs.similarity)
    decisions = Decisions(judged)
    claims = claims_table(judged)
    not_tested = untested(judged)
    items = items_table(inputs.data) if inputs.data.measures else []
    text = text_tables(inputs, labels)
    made: dict[str, Sequence[Table]] = {"claims": claims, "items": items, **text}
    figures: list[Drawing] = []
    sections: list[Section] = []
    for target, index in parts.items():
        products = chosen_layout(index).build(replace(read_inputs(index), decisions=decisions))
        made |= products.tables
        figures += products.figures
        sections.append(_part(target, index, products.figures, products.tables))
    said = (
        verdicts(judged.claims)
        if judged and judged.tested
        else "No run of these targets tests a conclusion of the paper."
    )
    opening = [Statement(said), *(found(judged) if judged else [])][:3]
    page = Page(
        study,
        study.title or f"The paper's conclusions on {study.model_id}",
        opening,
        facts(inputs),
        [
            asked(inputs, QUESTION),
            Section(
                "claims",
                "Conclusions",
                "The paper's conclusions, judged by the runs of all tables and figures",
                tables(claims) or [Paragraph(said)],
            ),
            *sections,
            Section("items", "Two errors", "Two kinds of error", tables(items)),
            calibration_text(inputs, text),
            browser(inputs, labels, real_text=real_text, rows=rows),
            *closing(inputs, limitations(inputs.data)),
            Section(
                "untested",
                "Not tested",
                "Conclusions of the paper that these runs do not test",
                [Folded(f"{len(not_tested)} conclusions, with the reason", [Statements(not_tested)])]
                if not_tested
                else [],
            ),
        ],
        inputs.evaluations,
    )
    return Report(made, figures, page)


def _part(
    target: TargetReport, index: Index, figures: Sequence[Drawing], found: Mapping[str, Sequence[Table]]
) -> Section:
    shown: list[Block] = drawn([figure for figure in figures if figure.figure])
    shown += tables([table for each in found.values() for table in each])
    title = Paragraph(index.study.title or target.name, link=(target.page, "Its own page"))
    return Section(target.name, spaced(target.name), spaced(target.name), [title, *(shown or [Paragraph(NOTHING)])])


def spaced(name: str) -> str:
    """`table2` -> `Table 2`, `similarity` -> `Similarity`."""
    head = name.rstrip("0123456789")
    return f"{head.capitalize()} {name[len(head) :]}".strip()
