"""The tables of a study's results: performance, paired differences, error over items."""

from collections.abc import Sequence

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.cell_differences import by_source, cell_estimate, difference
from calibrant.reporting.inference.statistics import ALPHA, Estimate
from calibrant.reporting.results.cells import DENSE, Cell, method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.rows import measure_columns
from calibrant.reporting.tables.table import Column, Row, Section, Table

TOGETHER, AS_SAMPLE = "These sources together", "Sources as a sample"
ORIGIN_LABELS = {"real": "real", "synthetic": "self-generated"}


def performance_tables(data: StudyResults) -> list[Table]:
    """One table per sparsity: dense and magnitude as reference rows, then a section per method.

    Each source has a row for real text, one for self-generated text, and their paired difference.
    """
    columns = measure_columns(data.measures)
    columns.append(Column("achieved_sparsity", "Sparsity", "achieved, %", 2))
    columns.insert(0, Column("seeds", "Seeds", decimals=0))
    return [_performance(data, sparsity, columns) for sparsity in data.sparsities]


def _performance(data: StudyResults, sparsity: str, columns: Sequence[Column]) -> Table:
    references = [
        _row(data, cell, method_label(cell.method), cell.method)
        for cell in (DENSE, Cell("magnitude", sparsity))
        if data.has(cell)
    ]
    sections = [Section("", references)] if references else []
    for method in data.methods:
        rows: list[Row] = []
        for source in data.sources:
            cells = [data.at(method, sparsity, source, origin) for origin in data.origins]
            rows += [
                _row(data, cell, f"{data.source_label(source)}, {ORIGIN_LABELS[str(cell.origin)]}", str(cell.origin))
                for cell in cells
                if data.has(cell)
            ]
            differences = [difference(data, sparsity, method, source, m) for m in data.measures]
            n = max((d.n for d in differences if d is not None), default=0)
            if n:
                label = f"{data.source_label(source)}, difference"
                rows.append(Row(label, [n, *differences, None], "difference", n))
        if rows:
            sections.append(Section(method_label(method), rows))
    return Table(
        f"Performance at {sparsity_label(sparsity)} sparsity",
        "Mean ± standard deviation over the seeds of the calibration set; a difference is self-generated minus real, "
        "paired by seed. ↓ lower is better, ↑ higher is better. "
        f"{DASH_NOTE} Nothing is set in bold: which differences hold is a matter of the next table.",
        "Calibration data",
        columns,
        sections,
    )


DASH_NOTE = "A dash marks what was not measured."


def _row(data: StudyResults, cell: Cell, label: str, role: str) -> Row:
    estimates = [cell_estimate(data, cell, m) for m in data.measures]
    seeds = max((e.n for e in estimates if e is not None), default=0)
    achieved = data.achieved.get(cell)
    shown = seeds if cell.source is not None else None
    return Row(label, [shown, *estimates, None if achieved is None else 100 * achieved], role, seeds)


def difference_tables(data: StudyResults, measures: Sequence[Measure]) -> list[Table]:
    """One table per measure: self-generated minus real for each source, then over all sources.

    p-values are two-sided; Holm's correction is over all source rows of the table.
    """
    return [table for m in measures if (table := _differences(data, m)) is not None]


def _differences(data: StudyResults, measure: Measure) -> Table | None:
    found = {key: by_source(data, *key, measure) for key in data.combinations()}
    found = {key: groups for key, groups in found.items() if groups}
    if not found:
        return None
    guessing = measure in data.at_chance
    each = {(key, s): statistics.estimate(v) for key, groups in found.items() for s, v in groups.items()}
    corrected = dict(zip(each, statistics.holm([e.p for e in each.values()]), strict=True))
    sections = []
    for (sparsity, method), groups in found.items():
        rows = []
        for source in groups:
            e, p = each[(sparsity, method), source], corrected[(sparsity, method), source]
            side = "at chance" if guessing else verdict(e, measure, p)
            rows.append(Row(data.source_label(source), [e.n, e.mean, e.sd, e, e.p, p, side]))
        if len(groups) > 1:
            fixed = statistics.pooled(list(groups.values()))
            drawn = statistics.estimate([each[(sparsity, method), source].mean for source in groups])
            for label, e in ((TOGETHER, fixed), (AS_SAMPLE, drawn)):
                side = "at chance" if guessing else verdict(e, measure, e.p)
                rows.append(Row(label, [e.n, e.mean, e.sd, e, e.p, None, side], "pooled"))
        sections.append(Section(f"{method_label(method)}, {sparsity_label(sparsity)}", rows))
    columns = [
        Column("n", "n", decimals=0),
        Column("difference", "Difference", measure.unit.replace("%", "points"), measure.decimals, True),
        Column("sd", "SD", "", measure.decimals),
        Column("interval", "95 % interval", "", measure.decimals, True, "interval"),
        Column("p", "p", "", 3, kind="p"),
        Column("p_holm", "p", "Holm", 3, kind="p"),
        Column("better", "Better", kind="text"),
    ]
    unit = "perplexity" if measure.lower_is_better else "percentage points"
    better = "negative" if measure.lower_is_better else "positive"
    caption = (
        f"Paired by seed, in {unit}; {better} means that self-generated text did better. Intervals and p-values are "
        f"Student t. '{TOGETHER}' averages over just these sources with the spread between seeds pooled (n counts "
        f"pairs); '{AS_SAMPLE}' takes each source's mean as one observation, and speaks of sources like them (n counts "
        "sources). Holm's correction covers the source rows of this table. 'Better' names a side only where p is below "
        "0.05, for a source after the correction; the rows over sources are not corrected."
    )
    if guessing:
        caption += " The dense model only guesses on this task: no difference is read here."
    return Table(f"Self-generated minus real: {measure.name}", caption, "Source", columns, sections)


def verdict(difference: Estimate, measure: Measure, p: float | None) -> str:
    """`self-generated`, `real`, or `undecided` where p (None: no test) is not below 0.05."""
    if p is None or p >= ALPHA:
        return "undecided"
    return "self-generated" if (difference.mean < 0) == measure.lower_is_better else "real"


def items_table(data: StudyResults) -> list[Table]:
    """One table: each task's error over items beside the spread between seeds, which are different things."""
    columns = [
        Column("items", "Items", "or tokens", 0),
        Column("chance", "Chance", "%", 1),
        Column("dense", "Dense", "", 2),
        Column("dense_error", "± items", "SE", 2),
        Column("above_chance", "Above chance", "dense", kind="text"),
        Column("pruned_error", "Error over items", "pruned, SE", 2),
        Column("seed_sd", "Spread over seeds", "pruned, SD", 2),
    ]
    sections = []
    for sparsity in data.sparsities:
        rows = [_item_row(data, sparsity, m) for m in [*data.perplexities, *data.accuracies]]
        sections.append(Section(sparsity_label(sparsity), rows))
    return [
        Table(
            "Error over items and spread over seeds",
            "The error over items says how well these items (or windows of text) stand for the task; it is shared by "
            "all models, which answer the same items, and does not shrink with more seeds. The spread over seeds says "
            "how much another draw of the calibration set changes the result; only it enters the intervals of the "
            "other tables. Pruned: averages over all calibration sets at that sparsity. A task is above chance when "
            "the dense model exceeds guessing by more than two standard errors.",
            "Task",
            columns,
            sections,
        )
    ]


def _item_row(data: StudyResults, sparsity: str, measure: Measure) -> Row:
    dense = next(iter(data.items(DENSE, measure).values()), None)
    cells = [c for c in data.main_cells if c.sparsity == sparsity and c.source is not None]
    found = [list(data.items(cell, measure).values()) for cell in cells]
    errors = [i.stderr * measure.scale for group in found for i in group if i.stderr is not None]
    groups = [[i.value * measure.scale for i in group] for group in found if group]
    counts = [i.n for group in found for i in group if i.n is not None] + ([dense.n] if dense and dense.n else [])
    known = dense is not None and measure.chance is not None and dense.error(measure.chance) is not None
    above = ("no" if data.is_at_chance(DENSE, measure) else "yes") if known else None
    return Row(
        measure.label,
        [
            max(counts, default=None),
            None if measure.chance is None else 100 * measure.chance,
            None if dense is None else dense.value * measure.scale,
            None if dense is None or dense.stderr is None else dense.stderr * measure.scale,
            above,
            sum(errors) / len(errors) if errors else None,
            statistics.pooled(groups).sd if groups else None,
        ],
    )
