"""Claims of sections 3.2 and 1: how much the choice of real text matters, and where."""

from collections.abc import Sequence
from itertools import combinations

from calibrant.reporting.inference.evidence import Evidence
from calibrant.reporting.inference.verdict import (
    Answer,
    Contrast,
    alike,
    every,
    gaps,
    minus,
    over_seeds,
    paired,
    some,
    together,
    without,
)
from calibrant.reporting.results.cells import Cell, method_label, share, sparsity_label
from calibrant.reporting.results.study_results import Seeds

SMALL = 0.1  # points: what section 3.2 calls minimal
MARGIN_BELOW_HALF = {"points": SMALL}


def small_below_half(evidence: Evidence) -> Answer:
    """Section 3.2: below 50 % sparsity real sources differ by less than 0.1 points: each pair is alike (TOST)."""
    mild = [s for s in evidence.sparsities if ":" not in s and share(s) < 0.5]
    contrasts = [
        c for sparsity in mild for method in evidence.methods for c in pairs(evidence, method, sparsity, "real")
    ]
    unit = evidence.outcome.unit_of_scores
    return alike(contrasts, MARGIN_BELOW_HALF.get(unit, evidence.margin), unit)


def pairs(evidence: Evidence, method: str, sparsity: str, origin: str) -> list[Contrast]:
    """The difference of each pair of sources, paired by seed."""
    found = []
    for one, other in combinations(evidence.sources(method, sparsity, origin), 2):
        cells = [evidence.at(method, sparsity, s, origin) for s in (one, other)]
        label = f"{other} minus {one}, {method_label(method)}, {sparsity_label(sparsity)}"
        if set(evidence.cells[cells[0]]) & set(evidence.cells[cells[1]]):
            found.append(paired(label, evidence.cells[cells[0]], evidence.cells[cells[1]], cells))
    return found


def grows_with_sparsity(evidence: Evidence) -> Answer:
    """Section 3.2, Figure 2a: the gap between real sources at the harshest ratio minus that at the mildest."""
    return _growth(evidence, [s for s in evidence.sparsities if ":" not in s])


def grows_with_structure(evidence: Evidence) -> Answer:
    """Section 3.2, Figure 2b: the gap between real sources in the strictest pattern minus the freest, at 50 %."""
    return _growth(evidence, [s for s in evidence.sparsities if share(s) == 0.5])


def _growth(evidence: Evidence, sparsities: Sequence[str]) -> Answer:
    run = [s for s in sparsities if any(len(evidence.sources(m, s, "real")) > 1 for m in evidence.methods)]
    if len(run) < 2:
        return without("fewer than two such sparsities with two real sources")
    first, last = run[0], run[-1]
    growth, used = [], []
    for method in evidence.methods:
        names = [s for s in evidence.sources(method, first, "real") if s in evidence.sources(method, last, "real")]
        if len(names) < 2:
            continue
        mild, harsh = ({s: evidence.at(method, sparsity, s, "real") for s in names} for sparsity in (first, last))
        growth.append(minus(gaps(_scores(evidence, harsh)), gaps(_scores(evidence, mild))))
        used += [*mild.values(), *harsh.values()]
    label = f"{sparsity_label(last)} against {sparsity_label(first)}"
    return _answer(label, growth, used)


def _answer(label: str, each: Sequence[Seeds], used: Sequence[Cell]) -> Answer:
    values = together(each)
    if not values:
        return without("too few seeds: best and worst are chosen on one half and measured on the other")
    return every([over_seeds(label, values, used, "t of gaps")])


def _scores(evidence: Evidence, cells: dict[str, Cell]) -> dict[str, Seeds]:
    return {name: evidence.cells[cell] for name, cell in cells.items()}


def below_magnitude(evidence: Evidence) -> Answer:
    """Section 3.2: at 60 %, some source gives a worse model than magnitude pruning, which uses no data."""
    sparsity = evidence.sparsity("0.6")
    reference = evidence.cells.get(Cell("magnitude", sparsity or "", None, None, None, None, None), {})
    if sparsity is None or len(reference) != 1:
        return without("no magnitude pruning at that sparsity")
    level = next(iter(reference.values()))
    contrasts = []
    for method in evidence.methods:
        for source in evidence.sources(method, sparsity, "real"):
            cell = evidence.at(method, sparsity, source, "real")
            label = f"{source}, {method_label(method)}, {sparsity_label(sparsity)}"
            behind = {seed: level - score for seed, score in evidence.cells[cell].items()}
            contrasts.append(over_seeds(label, behind, [cell]))
    return some(contrasts)


def data_outweighs_method(evidence: Evidence) -> Answer:
    """Section 1, Figure 1: the best and the worst text differ by more than the best and the worst method.

    For each method: the gap between calibration texts (real and generated) minus the gap between methods, averaged
    over these texts. It can be so where it is so for one method.
    """
    sparsity = evidence.sparsity("0.6")
    if sparsity is None or len(evidence.methods) < 2:
        return without("fewer than two methods that use data")
    texts = [
        (origin, source)
        for origin in ("real", "synthetic")
        for source in evidence.names
        if all(evidence.at(m, sparsity, source, origin) in evidence.cells for m in evidence.methods)
    ]
    if len(texts) < 2:
        return without("fewer than two texts that every method was calibrated on")
    table = {m: {f"{s} {o}": evidence.at(m, sparsity, s, o) for o, s in texts} for m in evidence.methods}
    scores = {m: _scores(evidence, cells) for m, cells in table.items()}
    names = list(next(iter(scores.values())))
    of_methods = together([gaps({m: scores[m][name] for m in scores}) for name in names])
    used = [cell for cells in table.values() for cell in cells.values()]
    contrasts = []
    for method in evidence.methods:
        values = minus(gaps(scores[method]), of_methods)
        if not values:
            return without("too few seeds: best and worst are chosen on one half and measured on the other")
        label = f"texts with {method_label(method)} against methods, {sparsity_label(sparsity)}"
        contrasts.append(over_seeds(label, values, used, "t of gaps"))
    return some(contrasts)
