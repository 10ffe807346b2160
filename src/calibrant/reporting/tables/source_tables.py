"""Tables 1, 3, 6 and 7: kinds of calibration text against each other, the best one marked where a test allows it."""

from collections.abc import Sequence

import polars as pl

from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.results.cells import Cell, method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.published_rows import published_row, published_value
from calibrant.reporting.tables.table import Column, Row, Section, Table

SYN = "Syn"


def kinds(data: StudyResults, method: str, sparsity: str) -> list[tuple[str, Cell]]:
    """The kinds of text of one method and sparsity with their labels: every real source, then the self-generated.

    A single self-generated text is called `Syn`, as in the paper; several are told apart by their source.
    """
    real = [(data.source_label(s), data.at(method, sparsity, s, "real")) for s in data.sources]
    written = [s for s in data.sources if data.at(method, sparsity, s, "synthetic") in data.cells]
    single = len(written) == 1
    return [(label, cell) for label, cell in real if cell in data.cells] + [
        (SYN if single else f"{data.source_label(s)} w/ Syn", data.at(method, sparsity, s, "synthetic"))
        for s in written
    ]


def syn_note(data: StudyResults) -> str:
    """Whose text the single row `Syn` is."""
    written = list(dict.fromkeys(str(c.source) for c in data.cells if c.origin == "synthetic"))
    if len(written) != 1:
        return ""
    return f"{SYN}: text that the model wrote from prefixes of {data.source_label(written[0])}."


def by_method(data: StudyResults, decisions: Decisions, published: pl.DataFrame | None = None) -> list[Table]:
    """Table 1: a row per method, a column per kind of text; a table for each sparsity and outcome."""
    tables = []
    for sparsity in data.sparsities:
        methods = [m for s, m in data.combinations() if s == sparsity]
        for measure in data.headline if methods else []:
            tables.append(_by_method(data, decisions, sparsity, methods, measure, published))
    return tables


def _by_method(
    data: StudyResults,
    decisions: Decisions,
    sparsity: str,
    methods: Sequence[str],
    measure: Measure,
    published: pl.DataFrame | None,
) -> Table:
    lines = {method: kinds(data, method, sparsity) for method in methods}
    labels = list(dict.fromkeys(label for found in lines.values() for label, _ in found))
    best = rows.best_cells(data, decisions, [[cell for _, cell in found] for found in lines.values()], [measure])
    shown: list[Row] = []
    for method, found in lines.items():
        cells = dict(found)
        estimates = [cell_estimate(data, cells[label], measure) if label in cells else None for label in labels]
        marked = frozenset(i + 1 for i, label in enumerate(labels) if cells.get(label) in best)
        seeds = rows.seeds_of(estimates)
        shown.append(Row(method_label(method), [seeds or None, *estimates], "plain", seeds, marked))
        if published is not None:
            paper = [published_value(published, cells[label], measure) if label in cells else None for label in labels]
            if any(value is not None for value in paper):
                shown.append(Row("as published", [None, *paper], "published"))
    columns = [Column(_key(label), label, rows.direction(measure), measure.decimals, kind="spread") for label in labels]
    return Table(
        f"{_capital(measure.name)} at {sparsity_label(sparsity)} by method and calibration text",
        rows.caption(rows.SPREAD, syn_note(data), rows.BEST.replace("in that column", "in its row")
                     .replace("of the column", "of the table"), rows.notes(data)),
        "Method",
        [Column("seeds", "Seeds", decimals=0), *columns],
        [Section("", shown)],
    )  # fmt: skip


def by_measure(
    data: StudyResults, decisions: Decisions, published: pl.DataFrame | None = None, *, perplexity: bool = True
) -> list[Table]:
    """Tables 6 and 7: a section per method, a row per kind of text, a column per measure; a table per sparsity.

    Args:
        data: the study; its main setting is shown.
        decisions: of the page.
        published: the paper's numbers for this model.
        perplexity: whether perplexities are shown beside accuracies (Table 7 has none); alone they always are.
    """
    measures = [m for m in data.measures if perplexity or not data.accuracies or m.kind != "perplexity"]
    tables = []
    for sparsity in data.sparsities:
        methods = [m for s, m in data.combinations() if s == sparsity]
        if not methods:
            continue
        lines = {method: kinds(data, method, sparsity) for method in methods}
        best = rows.best_cells(data, decisions, [[cell for _, cell in found] for found in lines.values()], measures)
        sections = []
        for method, found in lines.items():
            shown: list[Row] = []
            for label, cell in found:
                shown.append(rows.cell_row(data, cell, label, measures, best))
                paper = Cell(cell.method, cell.sparsity, None, "synthetic") if label == SYN else cell
                shown += published_row(published, paper, measures)
            sections.append(Section(method_label(method), shown))
        reference = rows.references(data, sparsity, measures)
        tables.append(
            Table(
                f"Kinds of calibration text at {sparsity_label(sparsity)} sparsity",
                rows.caption(rows.SPREAD, syn_note(data), rows.BEST, rows.notes(data)),
                "Calibration data",
                [Column("seeds", "Seeds", decimals=0), *rows.measure_columns(measures)],
                [*([Section("", reference)] if reference else []), *sections],
            )
        )
    return tables


def by_sparsity(data: StudyResults, decisions: Decisions, published: pl.DataFrame | None = None) -> list[Table]:
    """Table 3: a row per kind of text, a column per sparsity, a section per method; a table per outcome."""
    return [_by_sparsity(data, decisions, measure, published) for measure in data.headline if data.combinations()]


def _by_sparsity(data: StudyResults, decisions: Decisions, measure: Measure, published: pl.DataFrame | None) -> Table:
    settings = [s for s in data.sparsities if any(c == s for c, _ in data.combinations())]
    lines = {(m, s): kinds(data, m, s) for m in data.methods for s in settings}
    # A column is a sparsity: each has its own family of tests.
    best: set[Cell] = set()
    for s in settings:
        best |= set(rows.best_cells(data, decisions, [[c for _, c in lines[m, s]] for m in data.methods], [measure]))
    sections = []
    for method in data.methods:
        labels = list(dict.fromkeys(label for s in settings for label, _ in lines[method, s]))
        shown: list[Row] = []
        for label in labels:
            cells = [dict(lines[method, s]).get(label) for s in settings]
            estimates = [None if c is None else cell_estimate(data, c, measure) for c in cells]
            seeds = rows.seeds_of(estimates)
            marked = frozenset(i + 1 for i, c in enumerate(cells) if c in best)
            shown.append(
                Row(label, [seeds or None, *estimates], "synthetic" if label == SYN else "real", seeds, marked)
            )
            if published is not None:
                wanted = [_as_published(c, label) for c in cells]
                paper = [None if c is None else published_value(published, c, measure) for c in wanted]
                if any(value is not None for value in paper):
                    shown.append(Row("as published", [None, *paper], "published"))
        sections.append(Section(method_label(method), shown))
    magnitude = [cell_estimate(data, Cell("magnitude", s), measure) for s in settings]
    if any(value is not None for value in magnitude):
        sections.insert(0, Section("", [Row("Magnitude", [None, *magnitude], "magnitude")]))
    columns = [
        Column(_key(s), sparsity_label(s), rows.direction(measure), measure.decimals, kind="spread") for s in settings
    ]
    return Table(
        f"{_capital(measure.name)} by sparsity and calibration text",
        rows.caption(rows.SPREAD, syn_note(data), rows.BEST, rows.notes(data)),
        "Calibration data",
        [Column("seeds", "Seeds", decimals=0), *columns],
        sections,
    )


def _as_published(cell: Cell | None, label: str) -> Cell | None:
    return Cell(cell.method, cell.sparsity, None, "synthetic") if cell is not None and label == SYN else cell


def _key(label: str) -> str:
    return label.lower().replace(" ", "_").replace("/", "").replace("%", "percent")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
