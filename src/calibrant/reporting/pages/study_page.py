"""The page of a study: what was found, figures, tables, the text, and the paper's conclusions that it did not test."""

from collections.abc import Sequence
from dataclasses import replace

from calibrant.reporting.figures.difference_figure import difference_drawing
from calibrant.reporting.figures.distribution_figure import distribution_drawing
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.layer_figure import layer_drawing
from calibrant.reporting.figures.overlap_figure import overlap_drawing
from calibrant.reporting.figures.performance_figure import performance_drawing
from calibrant.reporting.figures.setting_figure import amount_drawing, prefix_drawing
from calibrant.reporting.figures.text_effects_figure import TITLE, text_effects_drawing
from calibrant.reporting.inference.conclusions import judge_study
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.inference.limits import limitations
from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.inference.statements import found, further
from calibrant.reporting.inference.text_effects import TextEffects, text_effects
from calibrant.reporting.inference.text_findings import by_target
from calibrant.reporting.pages.common_sections import asked, browser, calibration_text, closing, drawn, text_tables
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.pages.report import Report
from calibrant.reporting.pages.sections import (
    Block,
    Folded,
    Heading,
    Page,
    Section,
    Statements,
    tables,
)
from calibrant.reporting.results.cells import done_to, kind_of, method_label, target_label
from calibrant.reporting.results.expert_counts import read_expert_counts
from calibrant.reporting.results.formats import mixture
from calibrant.reporting.results.inspections import read_layers, read_overlaps
from calibrant.reporting.results.numbers import listed
from calibrant.reporting.results.published.published_tables import published_similarity
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.claims_table import claims_table, untested
from calibrant.reporting.tables.experts_table import expert_table, layer_experts_table
from calibrant.reporting.tables.filter_table import filter_table
from calibrant.reporting.tables.found_items import contamination_table
from calibrant.reporting.tables.result_tables import difference_tables, items_table, performance_tables
from calibrant.reporting.tables.similarity_table import similarity_table
from calibrant.reporting.tables.text_effects_table import text_effects_table

QUESTION = (
    "{} after training needs a little text to calibrate on. Does it matter which text, and does text that the "
    "model writes itself serve as well as, or better than, the real text that it continues?"
)
NOTHING = "These runs have nothing that could be compared."


def study_report(inputs: Inputs, *, real_text: bool, rows: int) -> Report:
    """All tables and figures of a study, and its page.

    Args:
        inputs: what its index names.
        real_text: whether the page's browser shows rows of real text.
        rows: rows that the browser shows of each text.
    """
    inputs = varied_note(inputs)
    data, study = inputs.data, inputs.study
    labels = {source: data.source_label(source) for source in data.sources}
    judged = judge_study(data, inputs.scores, inputs.similarity)
    inputs = replace(inputs, decisions=Decisions(judged))
    decisions = inputs.decisions
    primary = list(data.outcomes)
    text = text_tables(inputs, labels)
    experts = read_expert_counts(inputs.index.runs)
    other_text = {
        "similarity": similarity_table(inputs.similarity, inputs.labels(), published_similarity(study.model_id)),
        "contamination": contamination_table(inputs.contamination, labels),
    }
    effects = text_effects(data, decisions)
    # In the order in which they decide: a question keeps the p of the first, and of the larger family.
    made = {
        "claims": claims_table(judged),
        "performance": performance_tables(data),
        "differences": difference_tables(data, decisions, primary),
        "filtering": filter_table(data, decisions) if "drop" in data.varied else [],
        "differences_by_task": difference_tables(data, decisions, [m for m in data.measures if m not in primary]),
        "items": items_table(data),
        "text_by_target": text_effects_table(data, effects, inputs.file_bits),
        "experts": expert_table(experts, data),
        "experts_by_layer": layer_experts_table(experts, data),
        **text,
        **other_text,
    }
    said = found(judged) if judged else []
    if effects and kind_of(data.targets) != "sparsity":  # what such a study is about
        said.insert(0, Statement(by_target(effects, inputs.file_bits).text))
    more_said = further(judged, inputs.scores) if judged else []
    not_tested = untested(judged)
    by_task = made["differences_by_task"]
    more: list[Block] = []
    if by_task:
        more = [Folded("The same for each task", tables(by_task), f"({len(by_task)} tables)", only_page=True)]
    inside = tables(made["experts"])
    if by_layer := tables(made["experts_by_layer"]):
        inside.append(Folded("The same for each decoder layer", by_layer, only_page=True))
    figures = drawings(inputs, labels, effects)
    sections = [
        Section("figures", "Figures", "Performance by text", drawn(figures["figures"])),
        Section(
            "targets",
            "By target",
            TITLE,
            [
                *([Statements([by_target(effects, inputs.file_bits)])] if effects else []),
                *drawn(figures["targets"]),
                *tables(made["text_by_target"]),
            ],
        ),
        Section(
            "varied",
            "What else varies",
            "Samples, prefix, filter",
            [*drawn(figures["varied"]), *tables(made["filtering"])],
        ),
        Section("claims", "Conclusions", "What these runs decide", tables(made["claims"])),
        Section(
            "findings",
            "Findings",
            "What else the numbers say",
            [Statements(more_said, numbered=True)] if more_said else [],
        ),
        Section(
            "tables",
            "Tables",
            "Tables",
            [
                *tables(made["performance"]),
                *([Heading("Self-generated against real text")] if made["differences"] else []),
                *tables(made["differences"]),
                *more,
                Heading("Two kinds of error"),
                *tables(made["items"]),
            ],
        ),
        calibration_text(inputs, {**text, **other_text}, figures["data"]),
        Section(
            "inside",
            "Inside the model",
            f"Inside the {done_to(data.targets)} model",
            [*drawn(figures["inside"]), *inside],
        ),
        browser(inputs, labels, real_text=real_text, rows=rows),
        asked(inputs, question(data)),
        *closing(inputs, [*mixture(inputs.index.runs), *limitations(data)]),
        Section(
            "untested",
            "Not tested",
            "Conclusions of the paper that this study did not test",
            [Folded(f"{len(not_tested)} conclusions, with the reason", [Statements(not_tested)])] if not_tested else [],
        ),
    ]
    title = study.title or f"On which text should {study.model_id} be calibrated?"
    page = Page(study, title, said or [Statement(NOTHING)], facts(inputs), sections, inputs.evaluations)
    return Report(made, [figure for each in figures.values() for figure in each], page)


def drawings(inputs: Inputs, labels: dict[str, str], effects: TextEffects | None = None) -> dict[str, list[Drawing]]:
    """The figures of a study by the section that they stand in, and by the names of their files."""
    data, inspections = inputs.data, inputs.index.inspections
    what = f"{method_label(inspections.method)} at {target_label(inspections.target)}" if inspections else ""
    return {
        "figures": [performance_drawing("performance", data), difference_drawing("differences", data)],
        "targets": [text_effects_drawing("text_by_target", data, effects, inputs.file_bits)],
        "data": [
            distribution_drawing("perplexity", inputs.scores, "perplexity", labels),
            distribution_drawing("min_k", inputs.scores, "min_k_plus_plus", labels),
        ],
        "varied": [
            amount_drawing("amount", data, inputs.decisions, there="samples" in data.varied),
            prefix_drawing("prefix", data, inputs.decisions, there="prefix_length" in data.varied),
        ],
        "inside": [
            layer_drawing(read_layers(inspections), labels, what),
            overlap_drawing(read_overlaps(inspections), labels, what),
        ],
    }


def question(data: StudyResults) -> str:
    """What a study asks that does not say it itself."""
    return QUESTION.format("Pruning" if kind_of(data.targets) == "sparsity" else "Compression")


def facts(inputs: Inputs) -> list[tuple[str, str]]:
    """The strip below the headline."""
    data = inputs.data
    seeds = sorted({len(data.values(c, m)) for c in data.cells if c.source for m in data.perplexities[:1]})
    found = [
        ("Model", inputs.study.model_id),
        ("Sources", ", ".join(data.source_label(s) for s in data.sources)),
        ("Methods", ", ".join(method_label(m) for m in data.methods)),
        (kind_of(data.targets).capitalize(), _listed([target_label(t) for t in data.targets])),
        ("Seeds a source", " to ".join(str(s) for s in dict.fromkeys([*seeds[:1], *seeds[-1:]]))),
        ("Evaluations", str(inputs.evaluations)),
    ]
    return [(name, value) for name, value in found if value]


def _listed(labels: Sequence[str]) -> str:
    """Labels side by side, told apart where they have commas of their own."""
    return ("; " if any("," in label for label in labels) else ", ").join(labels)


def varied_note(inputs: Inputs) -> Inputs:
    """The inputs with a note of what the study varies and which setting tables show; the same where nothing varies."""
    words = {"samples": "the number of samples", "prefix_length": "the prefix length", "drop": "the filter rate"}
    names = inputs.data.varied
    if not names:
        return inputs
    text = (
        f"This study varies {listed([words[name] for name in names])}. Findings and tables that do not name them "
        f"show its main setting: {inputs.data.main.words}. The paper's conclusions are judged by all runs."
    )
    study = replace(inputs.study, notes=(*inputs.study.notes, text))
    return replace(inputs, index=replace(inputs.index, study=study))
