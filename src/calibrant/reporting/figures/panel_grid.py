"""Figures of several panels: rows and columns of them below a legend."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.results.cells import sparsity_of
from calibrant.reporting.results.measures import Measure

WIDEST = 4  # panels of targets side by side

Line = TypeVar("Line")
Column = TypeVar("Column")


def legend(figure: Figure, handles: Sequence[Any], columns: int = 5, pads: tuple[float, float] = (0.5, 1.6)) -> None:
    """A legend above the panels, in lines of about the same length; `pads`: behind a handle, between columns."""
    if not handles:
        return
    lines = math.ceil(len(handles) / columns)
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=math.ceil(len(handles) / lines),
        fontsize=8.5,
        handletextpad=pads[0],
        columnspacing=pads[1],
    )


def lines_of_targets(targets: Sequence[str]) -> list[list[str]]:
    """The columns of a page-wide figure, in lines: sparsities, then targets with a width, at most `WIDEST` in each."""
    kinds = ([t for t in targets if sparsity_of(t)], [t for t in targets if not sparsity_of(t)])
    found = []
    for kind in kinds:
        each = math.ceil(len(kind) / max(1, math.ceil(len(kind) / WIDEST)))
        found += [kind[i : i + each] for i in range(0, len(kind), max(1, each))]
    return found


def grid(
    rows: Sequence[Line],
    columns: Sequence[Column],
    size: tuple[float, float],
    draw: Callable[[Axes, Line, Column, int], None],
    handles: Sequence[Any],
    *,
    pads: tuple[float, float] = (1.6, 1.4),
    legend_pads: tuple[float, float] = (0.5, 1.6),
    **options: Any,
) -> Figure:
    """A figure of panels with a legend above them.

    Args:
        rows, columns: what its panels are about.
        size: in inches.
        draw: draws one, given its row, its column and its number in the order of reading.
        handles: of the legend.
        pads: between columns and between rows of panels.
        legend_pads: as `legend` takes them.
        options: of `Figure.subplots`.
    """
    with style.context():
        figure = Figure(figsize=size)
        panels = figure.subplots(len(rows), len(columns), squeeze=False, **options)
        for number, (row, column) in enumerate(itertools.product(rows, columns)):
            draw(panels.flat[number], row, column, number)
        legend(figure, handles, pads=legend_pads)
        figure.tight_layout(w_pad=pads[0], h_pad=pads[1])
    return figure


def measure_grid(
    measures: Sequence[Measure],
    columns: Sequence[Column],
    size: tuple[float, float],
    panel: Callable[[Axes, Measure, Column], str],
    handles: Sequence[Any],
    *,
    label: Callable[[Measure], str] = drawing.axis_label,
    **options: Any,
) -> Figure:
    """A `grid` with a row per measure: `panel` draws one and returns its title, which gets a letter."""

    def draw(axes: Axes, measure: Measure, column: Column, number: int) -> None:
        axes.set_title(f"{drawing.letter(number)} {panel(axes, measure, column)}")
        if number % len(columns) == 0:
            axes.set_ylabel(label(measure))

    return grid(measures, columns, size, draw, handles, **options)
