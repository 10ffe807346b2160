"""Figure 3: the number of calibration samples, a panel per outcome and method, a line per source."""

import math
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.frames import estimates_frame
from calibrant.reporting.inference.amount_claims import deviation_contrast, trend
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.inference.words import shown
from calibrant.reporting.results.cells import Cell, Text, run_label
from calibrant.reporting.results.study_results import StudyResults


class Panel(NamedTuple):
    """What a panel of Figure 3 is about."""

    sparsity: str
    method: str
    origin: str


def panels_of(data: StudyResults) -> list[Panel]:
    """The panels, mildest sparsity first; those that vary, where some do."""
    found = [
        Panel(sparsity, method, origin)
        for sparsity, method in data.combinations(anywhere=True)
        for origin in data.origins
        if amounts_of(data, Panel(sparsity, method, origin))
    ]
    return [panel for panel in found if len(amounts_of(data, panel)) > 1] or found


def amounts_of(data: StudyResults, panel: Panel) -> list[int]:
    """The numbers of samples that a panel has runs of, smallest first."""
    sparsity, method, origin = panel
    return [n for n in data.values_of("samples") if data.sources_of(method, sparsity, origin, samples=n)]


def line(data: StudyResults, panel: Panel, source: str) -> dict[int, Cell]:
    """The cells of a source by number of samples."""
    cells = {n: data.at(panel.method, panel.sparsity, source, panel.origin, samples=n) for n in amounts_of(data, panel)}
    return {n: cell for n, cell in cells.items() if data.has(cell)}


def amount_figure(data: StudyResults) -> Figure | None:
    """Draw it: means over seeds, one standard deviation shaded, the number of samples on a log axis.

    None where no run has a number of samples.
    """
    panels, measures = panels_of(data), data.headline
    if not panels:
        return None
    marks = drawing.marks_of(data)
    with style.context():
        figure = Figure(figsize=(max(4.4, 0.3 + 3.5 * len(panels)), 0.3 + 2.6 * len(measures)))
        grid = figure.subplots(len(measures), len(panels), squeeze=False)
        for row, measure in enumerate(measures):
            for column, panel in enumerate(panels):
                axes = grid[row][column]
                limits: list[float] = []
                for source in data.sources:
                    cells = line(data, panel, source)
                    points = [(n, e) for n, cell in cells.items() if (e := cell_estimate(data, cell, measure))]
                    if points:
                        drawing.band(axes, [n for n, _ in points], [e for _, e in points], marks[source])
                        if len(points) == 1:  # no line and no shade
                            drawing.point(axes, *points[0], marks[source])
                        limits += drawing.ends(e for _, e in points)
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_locator(FixedLocator(amounts_of(data, panel)))
                axes.xaxis.set_minor_locator(NullLocator())
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
                if limits:
                    drawing.value_axis(axes, limits, log=measure.lower_is_better)
                written = ", self-generated" if panel.origin == "synthetic" else ""
                letter = drawing.letter(row * len(panels) + column)
                axes.set_title(f"{letter} {run_label(panel.method, panel.sparsity)}{written}")
                axes.set_xlabel("calibration samples, log scale")
                if column == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        drawing.legend(figure, [drawing.handle(marks[s], data.source_label(s), line=True) for s in data.sources])
        figure.tight_layout(w_pad=1.6, h_pad=1.4)
    return figure


def amount_caption(data: StudyResults, decisions: Decisions) -> str:
    """What Figure 3 shows: the trend of the score and that of the deviation, by the contrasts of the conclusions."""
    sentences = ["Lines are means over sets, shades and bars one standard deviation. Positive changes are better."]
    for panel in panels_of(data):
        lines = {s: texts_of(data, panel, s) for s in data.sources if len(texts_of(data, panel, s)) > 1}
        if not lines:
            continue
        for measure in data.headline:
            scope, models = Scope(data, measure), {(panel.method, panel.sparsity): 1.0}
            change = trend(scope, models, lines, panel.sparsity)
            spread = deviation_contrast(scope, models, lines, panel.sparsity)
            written = " on self-generated text" if panel.origin == "synthetic" else ""
            place = f"{run_label(panel.method, panel.sparsity)}{written}, {measure.name}"
            few, many = (f(n for each in lines.values() for n in each) for f in (min, max))
            over = f"the mean over {len(lines)} sources" if len(lines) > 1 else "the mean"
            parts = []
            if change is not None:
                words = {1: "better", -1: "worse", 0: "not told from no change"}[decisions.single(change).side]
                parts.append(f"from {few} to {many} samples {over} changes by {shown(change)}, {words}")
            if spread is not None:
                words = {1: "smaller", -1: "larger", 0: "not told from 1"}[decisions.single(spread).side]
                factor = f"{math.exp(-spread.estimate.mean):.2f} ({_factors(spread.estimate)})"
                parts.append(f"the deviation between sets is multiplied by {factor}, {words}")
            if parts:
                sentences.append(f"{place}: {'; '.join(parts)}.")
    return " ".join(sentences)


def texts_of(data: StudyResults, panel: Panel, source: str) -> dict[int, Text]:
    """The texts of a source by number of samples."""
    return {n: cell.text for n, cell in line(data, panel, source).items()}


def _factors(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return "no interval"
    return f"95 % interval {math.exp(-found.high):.2f} to {math.exp(-found.low):.2f}"


def amount_drawing(name: str, data: StudyResults, decisions: Decisions, *, there: bool = True) -> Drawing:
    """The figure with its data and words; nothing where no run has a number of samples, or not `there`."""
    there = there and bool(panels_of(data))
    caption = amount_caption(data, decisions) if there else ""
    cells = [
        c for panel in (panels_of(data) if there else []) for s in data.sources for c in line(data, panel, s).values()
    ]
    return Drawing(
        name,
        amount_figure(data) if there else None,
        estimates_frame(data, data.headline, cells),
        "The number of calibration samples",
        caption,
        "Lines of the outcome against the number of samples, one per source with a shaded standard deviation; a "
        "panel per method.",
    )
