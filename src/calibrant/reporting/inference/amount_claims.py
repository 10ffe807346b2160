"""Claims of section 3.3: more calibration data neither helps nor closes gaps; it only steadies the result."""

from typing import Any

import numpy as np

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.evidence import Evidence
from calibrant.reporting.inference.verdict import (
    Answer,
    alike,
    every,
    gaps,
    in_unit,
    minus,
    over_seeds,
    paired,
    together,
    without,
)
from calibrant.reporting.results.cells import Cell, method_label, sparsity_label
from calibrant.reporting.results.study_results import Seeds

PLATEAU = 128  # samples
MARGIN = {"points": 0.2}  # what section 3.3 calls robust
FEWEST_SEEDS = 5  # for a standard deviation that says something

Place = tuple[str, str, str]  # method, sparsity, source


def does_not_matter(evidence: Evidence) -> Answer:
    """Section 3.3: beyond 128 samples the score stays within 0.2 points, for every method and source (TOST)."""
    contrasts = []
    for place, by_amount in _amounts(evidence).items():
        for amount, cell in by_amount.items():
            base = by_amount.get(PLATEAU)
            if base is None or amount <= PLATEAU or not set(evidence.cells[base]) & set(evidence.cells[cell]):
                continue
            label = f"{amount} against {PLATEAU} samples, {_words(place)}"
            contrasts.append(paired(label, evidence.cells[base], evidence.cells[cell], [base, cell]))
    if not contrasts:
        return without(f"no runs with {PLATEAU} samples and with more")
    unit = evidence.outcome.unit_of_scores
    return alike(contrasts, MARGIN.get(unit, evidence.margin), unit)


def does_not_close_gaps(evidence: Evidence) -> Answer:
    """Section 3.3: with most samples the gap between sources is not smaller than with 128, but for a margin.

    Asked only where there is a gap at 128; the best and the worst source are chosen there, on every second seed.
    """
    changes, starts, used = [], [], []
    found = _amounts(evidence)
    for method, sparsity in dict.fromkeys((m, s) for m, s, _ in found):
        both = {
            source: (by_amount[PLATEAU], by_amount[max(by_amount)])
            for (m, s, source), by_amount in found.items()
            if (m, s) == (method, sparsity) and PLATEAU in by_amount and max(by_amount) > PLATEAU
        }
        if len(both) < 2 or len({last.samples for _, last in both.values()}) > 1:
            continue
        base = {source: evidence.cells[cells[0]] for source, cells in both.items()}
        last = {source: evidence.cells[cells[1]] for source, cells in both.items()}
        starts.append(gaps(base))
        changes.append(minus(gaps(last, base), gaps(base)))
        used += [cell for cells in both.values() for cell in cells]
    values, start = together(changes), together(starts)
    if not values or not start:
        return without(f"no two sources with {PLATEAU} samples and with more, and two shared seeds")
    margin = evidence.margin
    first = statistics.estimate(list(start.values()))
    if first.low is None or first.low <= 0:
        return without(f"no gap between sources is established with {PLATEAU} samples that could be closed")
    rule = f"the gap shrinks by less than {margin:.4g} {evidence.outcome.unit_of_scores} (non-inferiority)"
    contrast = over_seeds("change of the gap", values, used, "t of gaps")
    return every([contrast], -margin, rule=rule)


def deviation_falls(evidence: Evidence) -> Answer:
    """Section 3.3: the standard deviation over seeds falls from the fewest to the most samples.

    Estimate: ln(SD with the fewest / SD with the most), variances pooled over methods and sources, with the jackknife
    over seeds (R. G. Miller, Jackknifing variances, 1968), which does not assume normal values.
    """
    ends = [(a[min(a)], a[max(a)]) for a in _amounts(evidence).values() if len(a) > 1]
    if not ends:
        return without("no runs that differ in the number of samples only")
    few = [evidence.cells[first] for first, _ in ends]
    many = [evidence.cells[last] for _, last in ends]
    shared = [s for s in few[0] if all(s in each for each in (*few, *many))]
    if len(shared) < FEWEST_SEEDS:
        return without(f"too few seeds: {len(shared)} shared; a standard deviation needs {FEWEST_SEEDS}")
    whole = _log_ratio(few, many, shared)
    if whole is None:
        return without("no spread at all between seeds")
    n = len(shared)
    pseudo: Seeds = {}
    for seed in shared:
        left = _log_ratio(few, many, [s for s in shared if s != seed])
        if left is None:
            return without("no spread at all between seeds")
        pseudo[seed] = n * whole - (n - 1) * left
    amounts = sorted({c.samples or 0 for pair in ends for c in pair})
    label = f"{amounts[-1]} against {amounts[0]} samples"
    cells = [cell for pair in ends for cell in pair]
    contrast = over_seeds(label, pseudo, cells, "jackknife over seeds, t")
    return in_unit(every([contrast], rule="the log ratio of deviations is above zero"), "log ratio")


def _log_ratio(few: list[Seeds], many: list[Seeds], seeds: list[Any]) -> float | None:
    variances = [np.mean([np.var([one[s] for s in seeds], ddof=1) for one in each]) for each in (few, many)]
    if min(variances) <= 1e-18:
        return None
    return float(0.5 * np.log(variances[0] / variances[1]))


def _amounts(evidence: Evidence) -> dict[Place, dict[int, Cell]]:
    """Cells of real text by number of samples, for each method, sparsity and source."""
    found: dict[Place, dict[int, Cell]] = {}
    for cell in evidence.select(origin="real"):
        if cell.source is not None and cell.samples is not None:
            found.setdefault((cell.method, cell.sparsity, cell.source), {})[cell.samples] = cell
    return found


def _words(place: Place) -> str:
    method, sparsity, source = place
    return f"{source}, {method_label(method)}, {sparsity_label(sparsity)}"
