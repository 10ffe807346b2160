"""Tables 1, 3, 6 and 7: kinds of calibration text against each other, the best one marked where a test allows it."""

from collections.abc import Collection, Sequence

import polars as pl

from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.results.cells import Cell, baseline_cell, kind_of, method_label, target_label, targets_told
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.published_rows import LABEL, published_row
from calibrant.reporting.tables.table import Column, Row, Section, Table

SYN = "Syn"
Place = tuple[Cell | None, Measure]  # what a cell of the table shows; None: there is no such text
Kinds = list[tuple[str, Cell]]  # labels and cells of the texts of one method and target


def kinds(data: StudyResults, method: str, target: str) -> Kinds:
    """The kinds of text of one method and target with their labels: every real source, then the self-generated.

    A single self-generated text is called `Syn`, as in the paper; several are told apart by their source.
    """
    real = [(data.source_label(s), data.at(method, target, s, "real")) for s in data.sources]
    written = [s for s in data.sources if data.at(method, target, s, "synthetic") in data.cells]
    single = len(written) == 1
    return [(label, cell) for label, cell in real if cell in data.cells] + [
        (SYN if single else f"{data.source_label(s)} w/ Syn", data.at(method, target, s, "synthetic")) for s in written
    ]


def syn_note(data: StudyResults) -> str:
    """Whose text the single row `Syn` is."""
    written = list(dict.fromkeys(str(c.source) for c in data.cells if c.origin == "synthetic"))
    if len(written) != 1:
        return ""
    return f"{SYN}: text that the model wrote from prefixes of {data.source_label(written[0])}."


def by_method(data: StudyResults, decisions: Decisions, published: pl.DataFrame | None = None) -> list[Table]:
    """Table 1: a row per method, a column per kind of text; a table for each target and outcome."""
    tables = []
    note = rows.BEST.replace("in that column", "in its row").replace("of the column", "of the table")
    for target, lines in _lines(data).items():
        labels = list(dict.fromkeys(label for found in lines.values() for label, _ in found))
        for measure in data.headline:
            best = rows.best_cells(data, decisions, _cells(lines), [measure])
            shown: list[Row] = []
            for method, found in lines.items():
                cells = dict(found)
                places: list[Place] = [(cells.get(label), measure) for label in labels]
                shown.append(_row(data, method_label(method), "plain", places, best))
                shown += published_row(published, places, label=LABEL)
            title = f"{_capital(measure.name)} at {target_label(target)} by method and calibration text"
            columns = [_column(label, label, measure) for label in labels]
            tables.append(_table(data, title, "Method", columns, [Section("", shown)], note))
    return tables


def by_measure(
    data: StudyResults, decisions: Decisions, published: pl.DataFrame | None = None, *, perplexity: bool = True
) -> list[Table]:
    """Tables 6 and 7: a section per method, a row per kind of text, a column per measure; a table per target.

    Args:
        data: the study; its main setting is shown.
        decisions: of the page.
        published: the paper's numbers for this model.
        perplexity: whether perplexities are shown beside accuracies (Table 7 has none); alone they always are.
    """
    measures = [m for m in data.measures if perplexity or not data.accuracies or m.kind != "perplexity"]
    tables = []
    for target, lines in _lines(data).items():
        best = rows.best_cells(data, decisions, _cells(lines), measures)
        reference = rows.references(data, target, measures)
        sections = [Section("", reference)] if reference else []
        for method, found in lines.items():
            shown: list[Row] = []
            for label, cell in found:
                shown.append(_row(data, label, str(cell.origin), [(cell, m) for m in measures], best))
                shown += published_row(published, [(_as_published(cell, label), m) for m in measures])
            sections.append(Section(method_label(method), shown))
        title = f"Kinds of calibration text at {targets_told([target])}"
        tables.append(_table(data, title, "Calibration data", rows.measure_columns(measures), sections))
    return tables


def by_target(data: StudyResults, decisions: Decisions, published: pl.DataFrame | None = None) -> list[Table]:
    """Table 3: a row per kind of text, a column per target, a section per method; a table per outcome."""
    lines = _lines(data)
    return [_by_target(data, decisions, lines, measure, published) for measure in data.headline if lines]


def _by_target(
    data: StudyResults,
    decisions: Decisions,
    lines: dict[str, dict[str, Kinds]],
    measure: Measure,
    published: pl.DataFrame | None,
) -> Table:
    # A column is a target: each has its own family of tests.
    best = {place for found in lines.values() for place in rows.best_cells(data, decisions, _cells(found), [measure])}
    references: list[Row] = []
    for plain in dict.fromkeys(baseline_cell(target).method for target in lines):
        means = [
            cell_estimate(data, Cell(plain, t), measure) if baseline_cell(t).method == plain else None for t in lines
        ]
        references += [Row(method_label(plain), [None, *means], "baseline")] if any(means) else []
    sections = [Section("", references)] if references else []
    for method in data.methods:
        by_label = {s: dict(found.get(method, ())) for s, found in lines.items()}
        shown: list[Row] = []
        for label in dict.fromkeys(label for found in by_label.values() for label in found):
            cells = [found.get(label) for found in by_label.values()]
            shown.append(
                _row(data, label, "synthetic" if label == SYN else "real", [(c, measure) for c in cells], best)
            )
            shown += published_row(published, [(_as_published(c, label), measure) for c in cells], label=LABEL)
        sections.append(Section(method_label(method), shown))
    title = f"{_capital(measure.name)} by {kind_of(data.targets)} and calibration text"
    columns = [_column(s, target_label(s), measure) for s in lines]
    return _table(data, title, "Calibration data", columns, sections)


def _lines(data: StudyResults) -> dict[str, dict[str, Kinds]]:
    """The kinds of text by target and method, of what was run."""
    found: dict[str, dict[str, Kinds]] = {}
    for target, method in data.combinations():
        found.setdefault(target, {})[method] = kinds(data, method, target)
    return found


def _cells(lines: dict[str, Kinds]) -> list[list[Cell]]:
    return [[cell for _, cell in found] for found in lines.values()]


def _row(data: StudyResults, label: str, role: str, places: Sequence[Place], best: Collection[Place]) -> Row:
    """Seeds, then the estimate of each place, those of `best` marked."""
    estimates = [None if cell is None else cell_estimate(data, cell, measure) for cell, measure in places]
    seeds = rows.seeds_of(estimates)
    marked = frozenset(i + 1 for i, place in enumerate(places) if place in best)
    return Row(label, [seeds or None, *estimates], role, seeds, marked)


def _as_published(cell: Cell | None, label: str) -> Cell | None:
    return Cell(cell.method, cell.target, None, "synthetic") if cell is not None and label == SYN else cell


def _table(
    data: StudyResults,
    title: str,
    stub: str,
    columns: Sequence[Column],
    sections: Sequence[Section],
    best: str = rows.BEST,
) -> Table:
    words = rows.caption(rows.SPREAD, syn_note(data), best, rows.notes(data))
    return Table(title, words, stub, [rows.SEEDS, *columns], sections)


def _column(name: str, title: str, measure: Measure) -> Column:
    key = name.lower().replace(" ", "_").replace("/", "").replace("%", "percent")
    return Column(key, title, rows.direction(measure), measure.decimals, kind="spread")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
