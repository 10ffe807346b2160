"""Estimates of cells, and of self-generated minus real text of one source, paired by seed."""

from typing import Any

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import Cell
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults


def cell_estimate(data: StudyResults, cell: Cell, measure: Measure) -> Estimate | None:
    """Mean and spread over seeds, None where nothing was run."""
    values = list(data.values(cell, measure).values())
    return statistics.estimate(values) if values else None


def differences(
    data: StudyResults, sparsity: str, method: str, source: str, measure: Measure, **other: Any
) -> list[float]:
    """Self-generated minus real, for each seed that both have (an empty list: none)."""
    real = data.values(data.at(method, sparsity, source, "real"), measure)
    synthetic = data.values(data.at(method, sparsity, source, "synthetic", **other), measure)
    return [synthetic[seed] - real[seed] for seed in real if seed in synthetic]


def difference(
    data: StudyResults, sparsity: str, method: str, source: str, measure: Measure, **other: Any
) -> Estimate | None:
    """The paired difference of one source, None without a common seed."""
    values = differences(data, sparsity, method, source, measure, **other)
    return statistics.estimate(values) if values else None


def by_source(data: StudyResults, sparsity: str, method: str, measure: Measure) -> dict[str, list[float]]:
    """The differences of every source that has both texts."""
    found = {s: differences(data, sparsity, method, s, measure) for s in data.sources}
    return {source: values for source, values in found.items() if values}
