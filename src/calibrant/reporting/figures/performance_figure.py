"""Figure: performance by source and origin, a column per target, a row per outcome."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.frames import estimates_frame
from calibrant.reporting.figures.panel_grid import grid, lines_of_targets
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.results.cells import DENSE, baseline_cell, baseline_words, kind_of, method_label, target_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults

MARKERS = {"real": "o", "synthetic": "D"}
OFFSETS = {"real": -0.16, "synthetic": 0.16}  # real above self-generated, on an axis that points down


def performance_figure(data: StudyResults) -> Figure | None:
    """Draw it. Points are means over seeds, bars one standard deviation, small ticks the single seeds.

    The dense model and the method without data are vertical lines; where one is far outside the points, an arrow at the
    edge says where it lies, so that it does not squeeze what the figure is about.
    """
    if not data.sources or not data.outcomes:
        return None
    targets = lines_of_targets([t for t in data.targets if any(c == t for c, _ in data.combinations())])
    lines = [(measure, line) for measure in data.outcomes for line in targets]
    columns = range(max(map(len, targets)))
    heights = [_height(data, line) for _, line in lines]

    def draw(axes: Axes, line: tuple[Measure, list[str]], column: int, number: int) -> None:
        measure, shown = line
        if column >= len(shown):
            axes.set_visible(False)
            return
        _panel(axes, data, measure, shown, column)
        axes.set_title(f"{drawing.heading(measure)}, {target_label(shown[column])}")
        if column:
            axes.set_yticklabels([])

    size = max(6.4, 1.5 + 3.7 * len(columns)), 0.4 + sum(heights)
    more = {"gridspec_kw": {"height_ratios": heights}} if len(targets) > 1 else {}
    return grid(lines, columns, size, draw, _handles(data), pads=(2.2, 1.6), legend_pads=(0.5, 1.8), **more)


def _height(data: StudyResults, targets: Sequence[str]) -> float:
    """Of a line of panels, in inches."""
    positions, _ = _rows(data, targets)
    methods = len({method for method, _ in positions})
    return 0.95 + 0.34 * len(positions) + 0.28 * (methods > 1) * methods


def _panel(axes: Axes, data: StudyResults, measure: Measure, targets: Sequence[str], column: int) -> None:
    """A target's panel; the rows are those of all panels beside it."""
    colours = style.colours(data.sources)
    target, named = targets[column], column == 0
    positions, labels = _rows(data, targets)
    shown: list[float] = []
    for (method, source), y in positions.items():
        for origin in data.origins:
            values = list(data.values(data.at(method, target, source, origin), measure).values())
            if values:
                shown += _point(axes, values, y + OFFSETS[origin], colours[source], origin)
    axes.set_yticks(list(positions.values()), labels)
    axes.tick_params(axis="y", labelcolor=style.INK)
    last = max(positions.values(), default=0)
    axes.set_ylim(last + 0.6, -0.95)
    methods = list(dict.fromkeys(m for m, _ in positions))
    if named and len(data.methods) > 1:
        for method in methods:
            first = min(y for (m, _), y in positions.items() if m == method)
            axes.text(
                -0.01,
                first - 0.62,
                method_label(method),
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                weight="bold",
                size=8.5,
            )
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    if shown:
        _limits(axes, data, measure, target, shown)
    axes.set_xlabel("perplexity, log scale (lower is better)" if measure.lower_is_better else "% (higher is better)")


def _rows(data: StudyResults, targets: Sequence[str]) -> tuple[dict[tuple[str, str], float], list[str]]:
    run = {(cell.method, cell.source) for cell in data.main_cells if cell.target in targets and cell.source}
    methods = [m for m in data.methods if any(m == method for method, _ in run)]
    positions, labels, y = {}, [], 0.0
    for number, method in enumerate(methods):
        if number:
            y += 0.9
        for source in (s for s in data.sources if (method, s) in run):
            positions[method, source] = y
            labels.append(data.source_label(source))
            y += 1
    return positions, labels


def _point(axes: Axes, values: Sequence[float], y: float, colour: str, origin: str) -> list[float]:
    """Draw one point; return what the axis must show: the values and the ends of the bar."""
    extent = list(values)
    mean = sum(values) / len(values)
    if len(values) > 1:
        sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        extent += [mean - sd, mean + sd]
        axes.plot([mean - sd, mean + sd], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
        axes.plot(values, [y] * len(values), "|", color=colour, markersize=6, markeredgewidth=0.9, zorder=2)
    face = style.PAPER if origin == "real" else colour
    axes.plot(
        [mean], [y], MARKERS[origin], color=colour, markerfacecolor=face, markersize=6, markeredgewidth=1.5, zorder=3
    )
    return extent


def _limits(axes: Axes, data: StudyResults, measure: Measure, target: str, shown: Sequence[float]) -> None:
    """Limits around the points; references inside or near them are lines, farther ones arrows at the edge."""
    log = measure.lower_is_better
    forward, back = (math.log, math.exp) if log else (float, float)
    spread = [forward(v) for v in shown if v > 0 or not log]
    low, high = min(spread), max(spread)
    width = max(high - low, 0.08 if log else 1.0)
    references = {}
    for cell in (DENSE, baseline_cell(target)):
        found = cell_estimate(data, cell, measure)
        if found is not None:
            references[cell.method] = forward(found.mean)
    near = {name: x for name, x in references.items() if low - 0.9 * width <= x <= high + 0.9 * width}
    low, high = min([low, *near.values()]), max([high, *near.values()])
    low, high = low - 0.12 * (high - low + 0.1 * width), high + 0.12 * (high - low + 0.1 * width)
    if log:
        axes.set_xscale("log")
        style.log_ticks(axes, back(low), back(high))
    else:
        style.linear_ticks(axes)
    axes.set_xlim(back(low), back(high))
    digits = style.digits(back(low), back(high)) if log else 3
    for name, x in references.items():
        text = f"{method_label(name)} {style.plain(back(x), digits)}"
        if name in near:
            linestyle = (0, (5, 2)) if name != DENSE.method else (0, (1, 1.2))
            axes.axvline(back(x), color=style.MUTED, linewidth=1, linestyle=linestyle, zorder=1)
            align = "left" if x < low + 0.25 * (high - low) else "right" if x > high - 0.25 * (high - low) else "center"
            box = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.8}
            _note(axes, back(x), text, align, bbox=box)
        elif x < low:
            _note(axes, 0.0, f"← {text}", "left", transform=axes.get_yaxis_transform())
        else:
            _note(axes, 1.0, f"{text} →", "right", transform=axes.get_yaxis_transform())


def _note(axes: Axes, x: float, text: str, align: str, **more: Any) -> None:
    axes.text(x, -0.72, text, ha=align, va="center", size=8, color=style.MUTED, **more)


def _handles(data: StudyResults) -> list[Line2D]:
    words = {"real": "real text", "synthetic": "self-generated text"}
    marks = {origin: drawing.Mark(style.INK, MARKERS[origin], "-") for origin in data.origins}
    bar = Line2D([], [], color=style.INK, linewidth=1.8, label="± one standard deviation over seeds")
    points = [
        drawing.handle(marks[o], words[o], hollow=o == "real", markersize=6, markeredgewidth=1.5) for o in data.origins
    ]
    return [*points, bar]


def performance_drawing(name: str, data: StudyResults) -> Drawing:
    """The figure with its data and words."""
    return Drawing(
        name,
        performance_figure(data),
        estimates_frame(data, data.outcomes, data.main_cells),
        "Performance by source and origin of the calibration text",
        "Hollow circles: calibrated on real text. Filled diamonds: on text that the model wrote itself. Bars are one "
        f"standard deviation over seeds, small ticks the single seeds. {baseline_words(data.cells, 'Dense model')}, "
        "which use no calibration text, are lines, or arrows where they lie outside the panel.",
        f"Dot plot of {' and '.join(m.name for m in data.outcomes)} for each source, real and self-generated, one "
        f"column of panels per {kind_of(data.targets)}. The table of performance holds the same numbers.",
    )
