"""What the tables of the paper share: columns of measures, rows of cells, differences, marks for the best."""

from collections.abc import Mapping, Sequence

from calibrant.reporting.inference.best import Seeds, best_rows
from calibrant.reporting.inference.cell_differences import cell_estimate
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import DENSE, Cell, method_label, share, sparsity_label
from calibrant.reporting.results.measures import AVERAGE, Measure
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.table import MARK, Column, Row, Value

BEST = (
    f"{MARK} the best of its method in that column: better than each of the others in a paired t test over seeds, "
    "p < 0.05 after Holm's correction over all pairs of the column; where no value has it, none is held apart."
)


SPREAD = "Mean ± standard deviation over the seeds of the calibration set; ↓ lower is better, ↑ higher is better."


DRIFT = 0.005  # of all weights; rounding down in every row leaves less than that in real models


CHANCE = "On {} the dense model only guesses: nothing is marked there, nor on an average with it."


def measure_columns(measures: Sequence[Measure]) -> list[Column]:
    """A column of means and standard deviations for each measure."""
    return [Column(m.key, short(m), direction(m), m.decimals, kind="spread") for m in measures]


def short(measure: Measure) -> str:
    """A measure as a column's heading."""
    return {"average": "Average", "average_above_chance": "Average above chance"}.get(measure.task, measure.label)


def direction(measure: Measure) -> str:
    """Unit and direction: `ppl ↓`, `% ↑`."""
    return "ppl ↓" if measure.lower_is_better else "% ↑"


def chance_note(data: StudyResults) -> str:
    """A sentence on the tasks on which nothing is read, empty where there is none."""
    return CHANCE.format(", ".join(m.label for m in data.at_chance)) if data.at_chance else ""


def sparsity_note(data: StudyResults) -> str:
    """A sentence on methods that pruned more or less than was asked, by over half a point; empty without any."""
    found = []
    for sparsity, method in data.combinations():
        achieved = [v for cell, v in data.achieved.items() if (cell.method, cell.sparsity) == (method, sparsity)]
        if achieved and abs(sum(achieved) / len(achieved) - share(sparsity)) > DRIFT:
            pruned = number(100 * sum(achieved) / len(achieved), 1)
            found.append(f"{method_label(method)} {pruned} % for {sparsity_label(sparsity)}")
    return f"Pruned otherwise than asked, which helps or harms by itself: {', '.join(found)}." if found else ""


def notes(data: StudyResults) -> str:
    """What a reader of a table must know beside its numbers: tasks at chance, sparsities that were not met."""
    return caption(chance_note(data), sparsity_note(data))


def caption(*sentences: str) -> str:
    """Sentences that are not empty, joined."""
    return " ".join(sentence for sentence in sentences if sentence)


def references(data: StudyResults, sparsity: str, measures: Sequence[Measure], blanks: int = 0) -> list[Row]:
    """Rows of the dense model and of magnitude pruning, where they were run."""
    cells = (DENSE, Cell("magnitude", sparsity))
    labels = (method_label("dense"), f"Magnitude, {sparsity_label(sparsity)}")
    return [
        Row(label, [None, *(cell_estimate(data, cell, m) for m in measures), *[None] * blanks], cell.method)
        for cell, label in zip(cells, labels, strict=True)
        if cell in data.cells
    ]


def seeds_of(estimates: Sequence[Estimate | None]) -> int:
    """The largest number of seeds in a row."""
    return max((e.n for e in estimates if e is not None), default=0)


def best_cells(
    data: StudyResults, sections: Sequence[Sequence[Cell]], measures: Sequence[Measure]
) -> dict[Cell, frozenset[int]]:
    """For each cell the positions of the measures in which it is the best of its section, by test."""
    found: dict[Cell, set[int]] = {}
    for position, measure in enumerate(measures):
        # An average with tasks at chance in it is left to the one without them.
        if measure in data.at_chance or (measure.task == AVERAGE and data.at_chance):
            continue
        values: list[list[Seeds]] = [[data.values(cell, measure) for cell in cells] for cells in sections]
        best = best_rows(values, lower_is_better=measure.lower_is_better)
        for cells, row in zip(sections, best, strict=True):
            if row is not None:
                found.setdefault(cells[row], set()).add(position)
    return {cell: frozenset(positions) for cell, positions in found.items()}


def cell_row(
    data: StudyResults,
    cell: Cell,
    label: str,
    measures: Sequence[Measure],
    marked: Mapping[Cell, frozenset[int]],
    more: Sequence[Value] = (),
) -> Row:
    """Seeds, then an estimate for each measure, then `more`; marks are moved past the column of seeds."""
    estimates = [cell_estimate(data, cell, m) for m in measures]
    seeds = seeds_of(estimates)
    marks = frozenset(i + 1 for i in marked.get(cell, frozenset()))
    return Row(label, [seeds or None, *estimates, *more], str(cell.origin), seeds, marks)


def delta_columns(measures: Sequence[Measure]) -> list[Column]:
    """For each measure a column of differences and one of their intervals."""
    return [
        column
        for m in measures
        for column in (
            Column(f"delta_{m.key}", f"Δ {short(m)}", direction(m), m.decimals, signed=True),
            Column(f"delta_{m.key}_interval", "95 % interval", "", m.decimals, signed=True, kind="interval"),
        )
    ]


def delta_cells(differences: Sequence[Estimate | None]) -> list[Value]:
    """The cells of `delta_columns`: the mean alone, then the estimate for its interval."""
    return [value for d in differences for value in (None if d is None else d.mean, d)]


def signed(value: float, measure: Measure) -> str:
    """A difference with its sign: `+0.61`."""
    return number(value, measure.decimals, signed=True)
