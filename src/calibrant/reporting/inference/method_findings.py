"""Sentences about methods: against pruning without data, and against each other on the same calibration sets."""

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.cell_differences import cell_estimate
from calibrant.reporting.inference.finding import Finding, p_told
from calibrant.reporting.results.cells import Cell, method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.study_results import StudyResults

BASELINE = "wanda"  # what other methods are compared with, where the study has it


def against_magnitude(data: StudyResults, sparsity: str) -> Finding | None:
    """How many calibrated models, of which methods, did better than pruning without data."""
    if not data.outcomes:
        return None
    measure = data.outcomes[0]
    reference = cell_estimate(data, Cell("magnitude", sparsity), measure)
    if reference is None:
        return None
    better: dict[str, int] = {}
    total: dict[str, int] = {}
    for cell in data.main_cells:
        found = cell_estimate(data, cell, measure)
        if cell.sparsity == sparsity and cell.source is not None and found is not None:
            won = (found.mean < reference.mean) == measure.lower_is_better
            better[cell.method] = better.get(cell.method, 0) + won
            total[cell.method] = total.get(cell.method, 0) + 1
    if not total:
        return None
    counts = ", ".join(f"{better[m]} of {total[m]} with {method_label(m)}" for m in data.methods if m in total)
    return Finding(
        f"At {sparsity_label(sparsity)} sparsity calibration text did better in {measure.name} than magnitude pruning, "
        f"which uses none (magnitude: {number(reference.mean, measure.decimals)}), for {counts}."
    )


def methods_compared(data: StudyResults, sparsity: str) -> Finding | None:
    """Each method against Wanda, paired by calibration set: same source, origin and seed."""
    if not data.outcomes:
        return None
    measure = data.outcomes[0]
    methods = [m for s, m in data.combinations() if s == sparsity]
    if len(methods) < 2:
        return None
    baseline = BASELINE if BASELINE in methods else methods[0]
    said, unsettled = [], False
    for method in methods:
        differences = _differences(data, sparsity, baseline, method, measure) if method != baseline else []
        if not differences:
            continue
        found = statistics.estimate(differences)
        sets = f"{found.n} set{'s' if found.n > 1 else ''}"
        details = []
        if found.low is not None and found.high is not None and found.p is not None:
            low, high = (number(x, measure.decimals, True) for x in (found.low, found.high))
            details = [f"95 % interval {low} to {high}", p_told(found.p)]
        unsettled |= not found.excludes_zero
        shown = number(found.mean, measure.decimals, True)
        said.append(f"{method_label(method)} by {shown} ({'; '.join([*details, sets])})")
    if not said:
        return None
    unit = "" if measure.kind == "perplexity" else ", in points"
    hedge = "Sets count as independent draws, which sets of one source are not quite; methods are not corrected for."
    if unsettled:
        hedge += " Where the interval is missing or includes zero, the order is not settled."
    return Finding(
        f"At {sparsity_label(sparsity)} sparsity, on the same calibration sets, methods differ from "
        f"{method_label(baseline)} in {measure.name} (mean difference{unit}): {', '.join(said)}.",
        hedge,
    )


def _differences(data: StudyResults, sparsity: str, baseline: str, method: str, measure: Measure) -> list[float]:
    """Method minus baseline for every calibration set that both were run on."""
    found = []
    for cell in data.main_cells:
        if (cell.sparsity, cell.method) == (sparsity, method) and cell.source is not None:
            ours, theirs = data.values(cell, measure), data.values(cell._replace(method=baseline), measure)
            found += [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    return found
