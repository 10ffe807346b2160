"""Claims of sections 5.2, 6.1 and 6.4: text that the model wrote against real text."""

import numpy as np
import polars as pl

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.evidence import Evidence
from calibrant.reporting.inference.spread_claims import pairs
from calibrant.reporting.inference.verdict import (
    Answer,
    Contrast,
    alike,
    every,
    in_unit,
    minus,
    over_seeds,
    over_sources,
    together,
    without,
)
from calibrant.reporting.results.cells import Cell, method_label, sparsity_label
from calibrant.reporting.results.study_results import Seeds

PATTERNS = ("4:8", "2:4")
NONE = "no real and generated text of one source with shared seeds at that sparsity"


def gains(evidence: Evidence, method: str, sparsity: str, **other: float) -> dict[str, tuple[Seeds, tuple[Cell, Cell]]]:
    """Generated minus real by seed for each source that has both, in the main setting but for `other`."""
    found = {}
    for source in evidence.sources(method, sparsity, "synthetic", **other):
        cells = (
            evidence.at(method, sparsity, source, "real"),
            evidence.at(method, sparsity, source, "synthetic", **other),
        )
        if cells[0] in evidence.cells and (values := minus(evidence.cells[cells[1]], evidence.cells[cells[0]])):
            found[source] = (values, cells)
    return found


def mean_gain(evidence: Evidence, sparsity: str, label: str, **other: float) -> list[Contrast]:
    """The gain averaged over methods and then over sources, which are a sample of sources; empty without any."""
    by_source: dict[str, list[Seeds]] = {}
    used: list[Cell] = []
    for method in evidence.methods:
        for source, (values, cells) in gains(evidence, method, sparsity, **other).items():
            by_source.setdefault(source, []).append(values)
            used += cells
    means = {source: values for source, each in by_source.items() if (values := together(each))}
    return [over_sources(label, means, used)] if means else []


def beats_every_source(evidence: Evidence) -> Answer:
    """Tables 2 and 5: generated text scores above the real text that it continues, for every source and method."""
    sparsity = evidence.sparsity("0.6")
    contrasts = [
        over_seeds(f"{source}, {method_label(method)}, {sparsity_label(sparsity)}", values, cells, "paired t")
        for method in evidence.methods
        if sparsity is not None
        for source, (values, cells) in gains(evidence, method, sparsity).items()
    ]
    return every(contrasts) if contrasts else without(NONE)


def beats_real_on_average(evidence: Evidence) -> Answer:
    """Section 5.2: the same on average, for sources like these."""
    sparsity = evidence.sparsity("0.6")
    contrasts = [] if sparsity is None else mean_gain(evidence, sparsity, sparsity_label(sparsity))
    return every(contrasts) if contrasts else without(NONE)


def beats_training_data(evidence: Evidence) -> Answer:
    """Section 5.2: generated text scores above real training data, on average over sources and methods.

    All sources are compared with the same sets of training data, so that their differences share its luck: the mean
    must lie above zero over the seeds, and over the sources.
    """
    sparsity = evidence.sparsity("0.6")
    if sparsity is None or not evidence.training:
        return without("no source of this study is known to be the model's training data")
    contrasts = [c for training in evidence.training for c in _over_training(evidence, sparsity, training)]
    if not contrasts:
        return without("no generated text and real training data with shared seeds at that sparsity")
    return every(contrasts, rule="the mean difference is above zero, over the seeds and over the sources")


def _over_training(evidence: Evidence, sparsity: str, training: str) -> list[Contrast]:
    """Generated text of each source minus one source of real training data, over the sources and over the seeds."""
    by_source: dict[str, list[Seeds]] = {}
    used: dict[Cell, None] = {}
    for method in evidence.methods:
        real = evidence.at(method, sparsity, training, "real")
        for source in evidence.sources(method, sparsity, "synthetic") if real in evidence.cells else []:
            cell = evidence.at(method, sparsity, source, "synthetic")
            by_source.setdefault(source, []).append(minus(evidence.cells[cell], evidence.cells[real]))
            used |= {cell: None, real: None}
    means = {source: values for source, each in by_source.items() if (values := together(each))}
    if not means:
        return []
    label, over_all = f"generated minus real {training}, {sparsity_label(sparsity)}", together(list(means.values()))
    found = [over_sources(label, means, used)]
    if len(means) > 1 and over_all:
        found.append(over_seeds(f"{label}, mean of sources", over_all, used, "paired t"))
    return found


def alike_whatever_source(evidence: Evidence) -> Answer:
    """Section 5.2: pruned models are alike whatever text the generated one continues: each pair of sources (TOST)."""
    sparsity = evidence.sparsity("0.6")
    contrasts = [
        c for method in evidence.methods if sparsity is not None for c in pairs(evidence, method, sparsity, "synthetic")
    ]
    if not contrasts:
        return without("no two sources with generated text at that sparsity")
    return alike(contrasts, evidence.margin, evidence.outcome.unit_of_scores)


def gain_in_patterns(evidence: Evidence) -> Answer:
    """Section 6.1, Table 3: generated text scores above real text at 4:8 and at 2:4, on average over sources.

    The text of the paper does not say over which real text its 0.8 points are; here it is the source's own.
    """
    contrasts = []
    for pattern in PATTERNS:
        found = mean_gain(evidence, pattern, sparsity_label(pattern))
        if not found:
            return without(f"no real and generated text of one source with shared seeds at {pattern}")
        contrasts += found
    return every(contrasts)


def higher_min_k(evidence: Evidence) -> Answer:
    """Section 6.4, Figure 5: generated rows have a higher median Min-K%++ than real rows, for every source.

    The rows are the replicates: percentile bootstrap of the difference of medians. Rows drawn into several sets count
    once.
    """
    contrasts = []
    for source in evidence.scores["source"].unique(maintain_order=True):
        rows = evidence.scores.filter(pl.col("source") == source).unique(
            ["origin", "perplexity", "min_k_plus_plus"], maintain_order=True
        )
        real, written = (
            rows.filter(pl.col("origin") == origin)["min_k_plus_plus"].to_list() for origin in ("real", "synthetic")
        )
        if len(real) > 1 and len(written) > 1:
            estimate = statistics.bootstrap([real, written], _difference_of_medians)
            test = f"bootstrap, {len(written)} and {len(real)} rows"
            contrasts.append(Contrast(source, estimate, test))
    if not contrasts:
        return without("no Min-K%++ of real and generated text of one source")
    return in_unit(every(contrasts), "Min-K%++")


def _difference_of_medians(real: np.ndarray, written: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.median(written, axis=axis) - np.median(real, axis=axis))
