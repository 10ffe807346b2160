"""Tables 2 and 5: each source real and self-generated, a section per method, with their difference Δ."""

import polars as pl

from calibrant.reporting.inference.decisions import Decided, Decisions, counted
from calibrant.reporting.inference.generated_claims import gains
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.results.cells import method_label, targets_told
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.published_rows import published_change, published_row
from calibrant.reporting.tables.table import Column, Row, Section, Table

Key = tuple[str, str, Measure]  # method, source, measure


def pairs_tables(data: StudyResults, decisions: Decisions, published: pl.DataFrame | None = None) -> list[Table]:
    """One table per target; a row per source for real text and one, `w/ Syn`, for the text that the model wrote.

    Args:
        data: the study; its main setting is shown.
        decisions: of the page.
        published: the paper's numbers for this model (`published_rows`).
    """
    run = {target for target, _ in data.combinations()}
    return [_table(data, decisions, s, published) for s in data.targets if s in run]


def _table(data: StudyResults, decisions: Decisions, target: str, published: pl.DataFrame | None) -> Table:
    methods = [m for s, m in data.combinations() if s == target]
    changed = data.headline
    decided = decisions.families({
        (method, source, measure): contrast
        for measure in changed
        for method in methods
        for source, contrast in gains(Scope(data, measure), target, method).items()
    })  # fmt: skip
    sections = [Section(method_label(m), _rows(data, target, m, decided, published)) for m in methods]
    reference = rows.references(data, target, data.measures, 2 * len(changed))
    trained = [data.source_label(s) for s in data.sources if s in data.study.trained_on]
    columns = [
        Column("pretrain", "Pretrain", "training data", kind="text"),
        rows.SEEDS,
        *rows.measure_columns(data.measures),
        *rows.delta_columns(changed),
    ]
    return Table(
        f"Real and self-generated calibration text at {targets_told([target])}",
        rows.caption(
            rows.SPREAD,
            f"w/ Syn: text that the model wrote from prefixes of the source above. Δ: w/ Syn minus real; {rows.DELTA}.",
            f"Pretrain: whether the study says that the model was trained on the source ({', '.join(trained)})."
            if trained else "Pretrain: the study does not say what the model was trained on (`trained_on`).",
            rows.notes(data),
            *(_count([d for key, d in decided.items() if key[2] == m], m) for m in changed),
        ),
        "Calibration data",
        columns,
        [_widened(s) for s in ([Section("", reference)] if reference else [])] + sections,
    )  # fmt: skip


def _widened(section: Section) -> Section:
    return Section(section.heading, [Row(r.label, [None, *r.cells], r.role, r.seeds) for r in section.rows])


def _rows(
    data: StudyResults, target: str, method: str, decided: dict[Key, Decided], published: pl.DataFrame | None
) -> list[Row]:
    found: list[Row] = []
    changed = data.headline
    for source in data.sources:
        for origin in data.origins:
            cell = data.at(method, target, source, origin)
            if not data.has(cell):
                continue
            written = origin == "synthetic"
            deltas = [decided.get((method, source, m)) if written else None for m in changed]
            alone = written and not data.has(data.at(method, target, source, "real"))
            label = data.source_label(source) if not written else "w/ Syn"
            label = f"{data.source_label(source)} w/ Syn" if alone else label
            row = rows.cell_row(data, cell, label, data.measures, deltas)
            trained = None if written or not data.study.trained_on else source in data.study.trained_on
            word = None if trained is None else "yes" if trained else "no"
            marked = frozenset(i + 1 for i in row.marked)
            found.append(Row(row.label, [word, *row.cells], row.role, row.seeds, marked))
            changes = [published_change(published, cell, m) for m in changed]
            cells = [value for e in changes for value in (None if e is None else e.mean, e)]
            found += _widened(Section("", published_row(published, [(cell, m) for m in data.measures], cells))).rows
    return found


def _count(decided: list[Decided], measure: Measure) -> str:
    """How many differences are decided, and for which side."""
    if not decided:
        return ""
    better, worse, undecided = counted(decided)
    return (
        f"In {measure.name}, self-generated text is better in {better} of {len(decided)} comparisons, worse in "
        f"{worse}, "
        f"undecided in {undecided}."
    )
