"""What the tables share: columns of measures, rows of cells, differences with their marks, marks for the best."""

from collections.abc import Sequence
from itertools import combinations

from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.contrasts import Contrast, contrast
from calibrant.reporting.inference.decisions import Decided, Decisions
from calibrant.reporting.inference.limits import shared_note
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import (
    DENSE,
    Cell,
    baseline_cell,
    method_label,
    prunes,
    run_label,
    target_label,
    target_of_run,
)
from calibrant.reporting.results.measures import AVERAGE, Measure
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.table import MARK, Column, Row, Value

BEST = (
    f"{MARK} the best of its method in that column: better than each of the others by Welch's t test over sets, "
    "p < 0.05 after Holm's correction over all pairs of the column; where no value has it, none is held apart."
)
SPREAD = "Mean ± standard deviation over calibration sets; ↓ lower is better, ↑ higher is better."
DELTA = (
    "positive means better, in points or in per cent of the perplexity (100 ln of the ratio), with its 95 % interval "
    "over "
    f"sets; {MARK} p < 0.05 after Holm's correction over that column"
)
SEEDS = Column("seeds", "Seeds", decimals=0)  # the first column of tables of means
DRIFT = 0.005  # of all weights; rounding down in every row leaves less than that in real models
CHANCE = "On {} the dense model is not above chance: nothing is marked there, nor on an average with it."


def measure_columns(measures: Sequence[Measure]) -> list[Column]:
    """A column of means and standard deviations for each measure."""
    return [Column(m.key, short(m), direction(m), m.decimals, kind="spread") for m in measures]


def short(measure: Measure) -> str:
    """A measure as a column's heading."""
    return {"average": "Average", "average_above_chance": "Average above chance"}.get(measure.task, measure.label)


def direction(measure: Measure) -> str:
    """Unit and direction: `ppl ↓`, `nats ↓`, `% ↑`."""
    return f"{measure.unit} {'↓' if measure.lower_is_better else '↑'}"


def notes(data: StudyResults) -> str:
    """What a reader must know beside the numbers: what a perplexity is of, chance, sparsities not met, rows shared."""
    defined = [f"{m.label}: {m.definition}." for m in data.perplexities if m.definition]
    chance = CHANCE.format(", ".join(m.label for m in data.at_chance)) if data.at_chance else ""
    return caption(*defined, chance, sparsity_note(data), shared_note(data) or "")


def sparsity_note(data: StudyResults) -> str:
    """A sentence on methods that pruned more or less than was asked, by over half a point; empty without any."""
    found = []
    for target, method in data.combinations():
        if not prunes(target):
            continue
        achieved = [v for cell, v in data.achieved.items() if (cell.method, cell.target) == (method, target)]
        if achieved and max(abs(value - target_of_run(target).sparsity) for value in achieved) > DRIFT:
            pruned = " to ".join(dict.fromkeys(number(100 * end, 1) for end in (min(achieved), max(achieved))))
            found.append(f"{method_label(method)} {pruned} % for {target_label(target)}")
    return f"Pruned otherwise than asked, which helps or harms by itself: {', '.join(found)}." if found else ""


def caption(*sentences: str) -> str:
    """Sentences that are not empty, joined."""
    return " ".join(sentence for sentence in sentences if sentence)


def references(data: StudyResults, target: str, measures: Sequence[Measure], blanks: int = 0) -> list[Row]:
    """Rows of the dense model and of the method without data at this target, where they were run."""
    plain = baseline_cell(target)
    kinds = ((DENSE, method_label(DENSE.method), "dense"), (plain, run_label(*plain[:2]), "baseline"))
    return [
        Row(label, [None, *(cell_estimate(data, cell, m) for m in measures), *[None] * blanks], role)
        for cell, label, role in kinds
        if data.has(cell)
    ]


def seeds_of(estimates: Sequence[Estimate | None]) -> int:
    """The largest number of seeds in a row."""
    return max((e.n for e in estimates if e is not None), default=0)


def best_cells(
    data: StudyResults, decisions: Decisions, sections: Sequence[Sequence[Cell]], measures: Sequence[Measure]
) -> set[tuple[Cell | None, Measure]]:
    """The cells that are the best of their section in a measure, by test."""
    found: set[tuple[Cell | None, Measure]] = set()
    for measure in measures:
        # An average with tasks at chance in it is left to the one without them.
        if measure in data.at_chance or (measure.task == AVERAGE and data.at_chance):
            continue
        pairs = {(a, b): _pair(data, measure, a, b) for cells in sections for a, b in combinations(cells, 2)}
        decided = decisions.family(pairs)
        for cells in sections:
            known = [cell for cell in cells if data.values(cell, measure)]
            for cell in known if len(known) > 1 else []:
                won = [(k, d) for k, d in decided.items() if cell in k and k[0] in known and k[1] in known]
                if len(won) == len(known) - 1 and all(d.side == (1 if k[0] == cell else -1) for k, d in won):
                    found.add((cell, measure))
    return found


def _pair(data: StudyResults, measure: Measure, first: Cell, second: Cell) -> Contrast | None:
    texts = {first.text: 1.0, second.text: -1.0}
    return contrast(data, measure, {(first.method, first.target): 1.0}, texts, "")


def cell_row(
    data: StudyResults,
    cell: Cell,
    label: str,
    measures: Sequence[Measure],
    deltas: Sequence[Decided | None] = (),
) -> Row:
    """Seeds, then an estimate for each measure, then two cells for each difference, marked where it is decided."""
    estimates = [cell_estimate(data, cell, m) for m in measures]
    seeds = seeds_of(estimates)
    marks = frozenset(1 + len(measures) + 2 * i for i, d in enumerate(deltas) if d is not None and d.side)
    return Row(label, [seeds or None, *estimates, *delta_cells(deltas)], str(cell.origin), seeds, marks)


def delta_columns(measures: Sequence[Measure]) -> list[Column]:
    """For each measure a column of differences and one of their intervals."""
    return [
        column
        for m in measures
        for column in (
            Column(f"delta_{m.key}", f"Δ {short(m)}", f"{m.unit_of_scores}, + better", 2, signed=True),
            Column(f"delta_{m.key}_interval", "95 % interval", "", 2, signed=True, kind="interval"),
        )
    ]


def delta_cells(deltas: Sequence[Decided | None]) -> list[Value]:
    """The cells of `delta_columns`: the mean alone, then the estimate for its interval."""
    estimates = [None if d is None else d.contrast.estimate for d in deltas]
    return [value for e in estimates for value in (None if e is None else e.mean, e)]
