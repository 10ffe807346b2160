"""Claims of sections 6.2 and 6.3: how long the prefix should be, and how much to filter."""

from collections.abc import Sequence
from typing import Any, Literal

from calibrant.reporting.inference.evidence import Evidence
from calibrant.reporting.inference.generated_claims import NONE, mean_gain
from calibrant.reporting.inference.verdict import Answer, every, minus, over_sources, together, without
from calibrant.reporting.results.cells import Cell, sparsity_label
from calibrant.reporting.results.study_results import Seeds

SHORT = (1, 4)  # tokens of the best prefixes
MODEST = (0.1, 0.2)  # best share of samples to drop
PREFERRED = "0.6"

Varied = Literal["prefix_length", "drop"]


def any_prefix_beats_real(evidence: Evidence) -> Answer:
    """Section 6.2: with a prefix of any length, generated text scores above the real text (mean over sources)."""
    sparsity = _sparsity(evidence, "prefix_length")
    lengths = [] if sparsity is None else [p for p in _values(evidence, sparsity, "prefix_length") if p >= SHORT[0]]
    if sparsity is None or len(lengths) < 2:
        return without("no runs that differ in the prefix length only")
    contrasts = [
        c
        for length in lengths
        for c in mean_gain(evidence, sparsity, f"prefix of {length}, {sparsity_label(sparsity)}", prefix_length=length)
    ]
    return every(contrasts) if contrasts else without(NONE)


def short_prefixes_beat_long(evidence: Evidence) -> Answer:
    """Section 6.2, Figure 4: prefixes of 1 to 4 tokens score above longer ones (mean over sources)."""
    sparsity = _sparsity(evidence, "prefix_length")
    values = [] if sparsity is None else _values(evidence, sparsity, "prefix_length")
    short = [p for p in values if SHORT[0] <= p <= SHORT[1]]
    return _against(
        evidence, "prefix_length", short, [p for p in values if p > SHORT[1]], "prefixes of 1 to 4 and longer"
    )


def unfiltered_beats_real(evidence: Evidence) -> Answer:
    """Section 6.3, Table 4: generated text of which nothing is dropped scores above real text (mean over sources)."""
    sparsity = evidence.sparsity(PREFERRED)
    contrasts = [] if sparsity is None else mean_gain(evidence, sparsity, sparsity_label(sparsity), drop=0.0)
    return every(contrasts) if contrasts else without("no generated text without filtering beside real text")


def modest_filtering_helps(evidence: Evidence) -> Answer:
    """Section 6.3, Table 4: dropping 10 to 20 % scores above dropping nothing (mean over sources)."""
    values = _drops(evidence)
    return _against(evidence, "drop", _modest(values), [d for d in values if d == 0], "10 to 20 % dropped and nothing")


def more_filtering_hurts(evidence: Evidence) -> Answer:
    """Section 6.3, Table 4: dropping 10 to 20 % scores above dropping more (mean over sources)."""
    values = _drops(evidence)
    more = [d for d in values if d > MODEST[1]]
    return _against(evidence, "drop", _modest(values), more, "10 to 20 % dropped and more")


def _drops(evidence: Evidence) -> list[Any]:
    sparsity = _sparsity(evidence, "drop")
    return [] if sparsity is None else _values(evidence, sparsity, "drop")


def _modest(values: Sequence[float]) -> list[float]:
    return [d for d in values if MODEST[0] <= d <= MODEST[1]]


def _sparsity(evidence: Evidence, varied: Varied) -> str | None:
    """The sparsity at which most values of the setting were run; of equally many 60 %, then the harshest."""
    counts = {s: len(_values(evidence, s, varied)) for s in evidence.sparsities}
    most = [s for s, n in counts.items() if n == max(counts.values())]
    return PREFERRED if PREFERRED in most else most[-1] if most else None


def _values(evidence: Evidence, sparsity: str, varied: Varied) -> list[Any]:
    """Values that the setting takes where the others are the main ones."""
    found = set()
    for cell in evidence.select(origin="synthetic", sparsity=sparsity, samples=evidence.main.samples):
        main = evidence.main._replace(**{varied: getattr(cell, varied)})
        if (cell.prefix_length, cell.drop) == (main.prefix_length, main.drop):
            found.add(getattr(cell, varied))
    return sorted(found - {None})


def _against(evidence: Evidence, varied: Varied, first: Sequence[Any], second: Sequence[Any], what: str) -> Answer:
    """Whether the mean of the first values of a setting scores above that of the second, over methods and sources."""
    sparsity = _sparsity(evidence, varied)
    if sparsity is None or not first or not second:
        return without(f"no runs with {what}")
    by_source: dict[str, list[Seeds]] = {}
    used: list[Cell] = []
    for method in evidence.methods:
        for source in evidence.sources(method, sparsity, "synthetic", **{varied: first[0]}):
            cells = {v: evidence.at(method, sparsity, source, "synthetic", **{varied: v}) for v in (*first, *second)}
            if any(cell not in evidence.cells for cell in cells.values()):
                continue
            one, other = ([evidence.cells[cells[v]] for v in values] for values in (first, second))
            by_source.setdefault(source, []).append(minus(together(one), together(other)))
            used += cells.values()
    means = {source: values for source, each in by_source.items() if (values := together(each))}
    if not means:
        return without(f"no source with {what} and shared seeds")
    return every([over_sources(sparsity_label(sparsity), means, used)])
