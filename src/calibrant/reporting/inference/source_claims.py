"""Claims of section 3.4: likeness to the training data ranks the sources, quality does not."""

from itertools import pairwise

from calibrant.reporting.inference.evidence import Evidence
from calibrant.reporting.inference.verdict import Answer, Contrast, every, minus, over_seeds, paired, together, without
from calibrant.reporting.results.cells import Cell, method_label, sparsity_label
from calibrant.reporting.results.study_results import Seeds


def similarity_ranks(evidence: Evidence) -> Answer:
    """Each source scores above the next less similar one, for every method (2:4 as in Table 1, if it was run).

    Needs the similarity of at least two sources to the training data. The training data itself, where it is a source,
    is the most similar.
    """
    sparsity = evidence.sparsity("2:4")
    known = {**evidence.similarity, **dict.fromkeys(evidence.training, float("inf"))}
    if sparsity is None or len(set(known.values())) < 2:
        return without("no similarities of the sources to the model's training data")
    contrasts = []
    for method in evidence.methods:
        order = sorted(
            (s for s in evidence.sources(method, sparsity, "real") if s in known), key=lambda s: known[s], reverse=True
        )
        for more, less in pairwise(order):
            if known[more] > known[less]:
                contrasts += _difference(evidence, method, sparsity, less, more)
    return every(contrasts)


def _difference(evidence: Evidence, method: str, sparsity: str, first: str, second: str) -> list[Contrast]:
    cells = [evidence.at(method, sparsity, source, "real") for source in (first, second)]
    one, other = (evidence.cells[cell] for cell in cells)
    label = f"{second} minus {first}, {method_label(method)}, {sparsity_label(sparsity)}"
    return [paired(label, one, other, cells)] if set(one) & set(other) else []


def quality_does_not_rank(evidence: Evidence) -> Answer:
    """Text of high quality (Wikipedia) scores below the mean of the other sources, for every method."""
    sparsity = evidence.sparsity("2:4")
    if sparsity is None:
        return without("no such runs in this study")
    contrasts = []
    for method in evidence.methods:
        names = evidence.sources(method, sparsity, "real")
        fine = [s for s in names if s in evidence.high_quality]
        rest = [s for s in names if s not in evidence.high_quality]
        if not fine or not rest:
            continue
        cells = {s: evidence.at(method, sparsity, s, "real") for s in names}
        values = minus(_mean(evidence, cells, rest), _mean(evidence, cells, fine))
        if values:
            label = f"other sources minus {', '.join(fine)}, {method_label(method)}, {sparsity_label(sparsity)}"
            contrasts.append(over_seeds(label, values, cells.values(), "paired t"))
    if not contrasts:
        return without(
            f"no source that is taken for text of high quality ({', '.join(evidence.high_quality)}) and another"
        )
    return every(contrasts)


def _mean(evidence: Evidence, cells: dict[str, Cell], names: list[str]) -> Seeds:
    return together([evidence.cells[cells[name]] for name in names])
