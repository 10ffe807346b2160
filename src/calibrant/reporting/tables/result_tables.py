"""The tables of a study's results: performance, self-generated against real text, error over items."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.contrasts import Contrast
from calibrant.reporting.inference.decisions import Decided, Decisions
from calibrant.reporting.inference.generated_claims import gain, gains
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import (
    DENSE,
    ORIGINS,
    Cell,
    baseline_cell,
    done_to,
    kind_of,
    method_label,
    prunes,
    run_label,
    target_label,
    targets_told,
)
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import rows
from calibrant.reporting.tables.table import Column, Row, Section, Table, Value

TOGETHER, REACH = "These sources together", "Mean of sources like these"


def performance_tables(data: StudyResults) -> list[Table]:
    """One table per target: references (dense, and no data), then a section per method, a row per text."""
    columns = [rows.SEEDS, *rows.measure_columns(data.measures)]
    if any(map(prunes, data.targets)):
        columns.append(Column("achieved_sparsity", "Sparsity", "achieved, %", 2))
    return [_performance(data, target, columns) for target in data.targets]


def _performance(data: StudyResults, target: str, columns: Sequence[Column]) -> Table:
    references = [
        _row(data, cell, method_label(cell.method), "dense" if cell == DENSE else "baseline")
        for cell in (DENSE, baseline_cell(target))
        if data.has(cell)
    ]
    sections = [Section("", references)] if references else []
    for method in data.methods:
        cells = [data.at(method, target, source, origin) for source in data.sources for origin in data.origins]
        shown = [
            _row(data, cell, f"{data.source_label(str(cell.source))}, {ORIGINS[str(cell.origin)]}", str(cell.origin))
            for cell in cells
            if data.has(cell)
        ]
        if shown:
            sections.append(Section(method_label(method), shown))
    words = rows.caption(
        rows.SPREAD, "A dash marks what was not measured. See the next tables for differences.",
        rows.notes(data),
    )  # fmt: skip
    return Table(f"Performance at {targets_told([target])}", words, "Calibration data", columns, sections)


def _row(data: StudyResults, cell: Cell, label: str, role: str) -> Row:
    estimates = [cell_estimate(data, cell, m) for m in data.measures]
    seeds = rows.seeds_of(estimates)
    achieved = data.achieved.get(cell) if cell == DENSE or prunes(cell.target) else None
    shown = seeds if cell.source is not None else None
    pruned = [None if achieved is None else 100 * achieved] if any(map(prunes, data.targets)) else []
    return Row(label, [shown, *estimates, *pruned], role, seeds)


def difference_tables(data: StudyResults, decisions: Decisions, measures: Sequence[Measure]) -> list[Table]:
    """One table per measure: self-generated minus real for each method and source, then over these sources."""
    return [table for m in measures if (table := _differences(data, decisions, m)) is not None]


def _differences(data: StudyResults, decisions: Decisions, measure: Measure) -> Table | None:
    scope = Scope(data, measure)
    keys = data.combinations()
    sources = {(key, s): c for key in keys for s, c in gains(scope, *key).items()}
    if not sources:
        return None
    decided = decisions.family(sources)
    together = decisions.family({key: _over_sources(scope, key, sources) for key in keys})
    sections = []
    for key in keys:
        found = [(s, d) for (k, s), d in decided.items() if k == key]
        shown = [_difference_row(data.source_label(s), d, d.contrast.estimate) for s, d in found]
        if key in together:
            over = together[key].contrast
            shown.append(_difference_row(TOGETHER, together[key], over.estimate, "pooled"))
            if over.reach is not None:
                shown.append(_difference_row(REACH, None, replace(over.reach, sd=None), "pooled"))
        if shown:
            sections.append(Section(run_label(key[1], key[0]), shown))
    columns = [
        Column("n", "n", "sets", 0),
        Column("difference", "Difference", measure.unit_of_scores, 2, True),
        Column("sd", "SD", "between sets", 2),
        Column("interval", "95 % interval", "", 2, True, "interval"),
        Column("p", "p", "", 3, kind="p"),
        Column("p_holm", "p", "Holm", 3, kind="p"),
        Column("better", "Better", kind="text"),
    ]
    scale = "per cent of the perplexity, 100 ln of the ratio" if measure.lower_is_better else "percentage points"
    words = (
        f"In {scale}; positive means that self-generated text did better. Intervals are Welch's t over sets (n counts "
        f"those of both texts). '{TOGETHER}' averages over just these sources, each counting the same. '{REACH}' takes "
        "each source's mean as one observation: an interval of the mean over sources like these, and no verdict. "
        "Holm's correction covers the source rows of this table, and apart from them the rows over sources; the "
        "intervals are not corrected. A question that the conclusions or a table above "
        "have decided keeps its p. 'Better' names a side only where p is below 0.05 after correction, and never on a "
        "task at chance."
    )
    if data.guesses(measure):
        words += " The dense model is not above chance on this task: no difference is read here."
    return Table(f"Self-generated minus real: {measure.name}", words, "Source", columns, sections)


def _over_sources(
    scope: Scope, key: tuple[str, str], sources: Mapping[tuple[tuple[str, str], str], Contrast]
) -> Contrast | None:
    """The contrast over the sources of a method and target; None for a single one."""
    return gain(scope, key[0], methods=[key[1]]) if sum(k == key for k, _ in sources) > 1 else None


def _difference_row(label: str, decided: Decided | None, e: Estimate, role: str = "plain") -> Row:
    p: list[Value] = [None, None, None] if decided is None else [e.p, decided.p_holm, side(decided)]
    return Row(label, [e.n, e.mean, e.sd, e, *p], role)


def side(decided: Decided) -> str:
    """`self-generated`, `real`, `undecided`, or `at chance` where no side may be named."""
    if not decided.contrast.readable:
        return "at chance"
    return {1: "self-generated", -1: "real", 0: "undecided"}[decided.side]


def items_table(data: StudyResults) -> list[Table]:
    """One table: each task's error over items beside the spread between seeds, which are different things."""
    done = done_to(data.targets)
    columns = [
        Column("items", "Items", "or tokens", 0),
        Column("chance", "Chance", "%", 1),
        Column("dense", "Dense", "", 2),
        Column("dense_error", "± items", "SE", 2),
        Column("above_chance", "Above chance", "dense", kind="text"),
        Column("pruned_error", "Error over items", f"{done}, SE", 2),
        Column("seed_sd", "Spread over seeds", f"{done}, SD", 2),
    ]
    sections = [
        Section(target_label(s), [_item_row(data, s, m) for m in [*data.perplexities, *data.accuracies]])
        for s in data.targets
    ]
    words = (
        "The error over items says how well these items (or windows of text) stand for the task; it is shared by all "
        "models, which answer the same items, and does not shrink with more seeds. The spread over seeds says how much "
        "another draw of the calibration set changes the result; only it enters the intervals of the other tables. "
        f"{done.capitalize()}: averages over all calibration sets at that {kind_of(data.targets)}. Chance: what the "
        "best constant answer scores. A task is above chance when the dense model exceeds it by more than two standard "
        "errors."
    )
    definitions = [f"{m.label}: {m.definition}." for m in data.perplexities if m.definition]
    return [
        Table("Error over items and spread over seeds", rows.caption(words, *definitions), "Task", columns, sections)
    ]


def _item_row(data: StudyResults, target: str, measure: Measure) -> Row:
    dense = next(iter(data.items(DENSE, measure).values()), None)
    cells = [c for c in data.main_cells if c.target == target and c.source is not None]
    found = [list(data.items(cell, measure).values()) for cell in cells]
    errors = [i.stderr * measure.scale for group in found for i in group if i.stderr is not None]
    groups = [[i.value * measure.scale for i in group] for group in found if group]
    counts = [i.n for group in found for i in group if i.n is not None] + ([dense.n] if dense and dense.n else [])
    known = dense is not None and measure.chance is not None and dense.error(measure.chance) is not None
    above = ("no" if data.guesses(measure) else "yes") if known else None
    return Row(
        measure.label,
        [
            max(counts, default=None),
            None if measure.chance is None else 100 * measure.chance,
            None if dense is None else dense.value * measure.scale,
            None if dense is None or dense.stderr is None else dense.stderr * measure.scale,
            above,
            sum(errors) / len(errors) if errors else None,
            statistics.pooled_deviation(groups) if groups else None,
        ],
    )
