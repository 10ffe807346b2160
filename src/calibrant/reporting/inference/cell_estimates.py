"""The mean of a cell and its spread over sets, as shown: perplexity, or per cent."""

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import Cell
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults


def cell_estimate(data: StudyResults, cell: Cell, measure: Measure) -> Estimate | None:
    """Mean and spread over sets, None where nothing was run."""
    values = list(data.values(cell, measure).values())
    return statistics.estimate(values) if values else None
