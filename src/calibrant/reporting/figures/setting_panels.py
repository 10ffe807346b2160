"""The panels of a figure over a setting of the calibration text, and the cells of each."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import Cell, Setting, Text
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults


class Panel(NamedTuple):
    """What a panel is about: the cells of each source by the value of the setting, smallest first."""

    target: str
    method: str
    origin: str
    lines: dict[str, dict[int, Cell]]

    @property
    def values(self) -> list[int]:
        """The values that it has runs of, smallest first."""
        return sorted({value for line in self.lines.values() for value in line})

    @property
    def texts(self) -> dict[str, dict[int, Text]]:
        """The texts of each source by value."""
        return {source: {n: cell.text for n, cell in line.items()} for source, line in self.lines.items()}

    @property
    def models(self) -> dict[tuple[str, str], float]:
        """Its models, as contrasts take them."""
        return {(self.method, self.target): 1.0}


def panels_of(data: StudyResults, setting: Setting, groups: Iterable[tuple[str, Sequence[str]]]) -> list[Panel]:
    """The panels with runs, mildest target first; those that vary, where some do.

    Args:
        data: the study.
        setting: what varies.
        groups: origin and sources of the panels of each method and target.
    """
    found = []
    for (target, method), (origin, sources) in itertools.product(data.combinations(anywhere=True), list(groups)):
        lines = {s: _line(data, setting, data.at(method, target, s, origin)) for s in sources}
        found.append(Panel(target, method, origin, {source: line for source, line in lines.items() if line}))
    known = [panel for panel in found if panel.lines]
    return [panel for panel in known if len(panel.values) > 1] or known


def _line(data: StudyResults, setting: Setting, main: Cell) -> dict[int, Cell]:
    cells = {value: main._replace(**{setting: value}) for value in data.values_of(setting)}
    return {value: cell for value, cell in cells.items() if data.has(cell)}


def estimates_of(data: StudyResults, measure: Measure, line: dict[int, Cell]) -> list[tuple[int, Estimate]]:
    """The values of a line with their estimates, where there are any."""
    return [(n, e) for n, cell in line.items() if (e := cell_estimate(data, cell, measure)) is not None]
