"""Figure 3: the number of calibration samples, a panel per outcome and method, a line per source."""

import math
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import stats

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.frames import estimates_frame
from calibrant.reporting.inference import statistics, words
from calibrant.reporting.inference.best import paired
from calibrant.reporting.inference.cell_differences import cell_estimate
from calibrant.reporting.inference.statistics import CONFIDENCE
from calibrant.reporting.results.cells import Cell, run_label
from calibrant.reporting.results.measures import Measure
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


def spread_ratio(data: StudyResults, panel: Panel, measure: Measure) -> tuple[float, float, float] | None:
    """Standard deviation over seeds with the most samples divided by that with the fewest, and its 95 % interval.

    The variances are pooled over the sources; the interval is that of a ratio of variances (F distribution), which
    takes values to be normal. None without two seeds at both ends, or without spread.
    """
    amounts = amounts_of(data, panel)
    if len(amounts) < 2:
        return None
    first, last = (_variance(data, panel, n, measure) for n in (amounts[0], amounts[-1]))
    if first is None or last is None:
        return None
    ratio = last[0] / first[0]
    low, high = (float(stats.f.ppf(q, last[1], first[1])) for q in (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    return math.sqrt(ratio), math.sqrt(ratio / high), math.sqrt(ratio / low)


def _variance(data: StudyResults, panel: Panel, amount: int, measure: Measure) -> tuple[float, int] | None:
    cells = [c for s in data.sources if (c := line(data, panel, s).get(amount)) is not None]
    groups = [list(values.values()) for cell in cells if (values := data.values(cell, measure))]
    df = sum(len(group) - 1 for group in groups)
    sd = statistics.pooled(groups).sd if groups else None
    return None if sd is None or sd <= 1e-12 or df == 0 else (sd * sd, df)


def amount_caption(data: StudyResults) -> str:
    """What Figure 3 shows: the change from the fewest to the most samples, and that of the spread."""
    sentences = ["Lines are means over seeds, shaded one standard deviation."]
    for panel in panels_of(data):
        few, *_, many = [*amounts_of(data, panel), amounts_of(data, panel)[-1]]
        if few == many:
            continue
        for measure in data.headline:
            lines = [line(data, panel, s) for s in data.sources]
            ends = [(cells[few], cells[many]) for cells in lines if few in cells and many in cells]
            pairs = [paired(data.values(one, measure), data.values(other, measure)) for one, other in ends]
            groups = [group for group in pairs if group]
            if not groups:
                continue
            written = " on self-generated text" if panel.origin == "synthetic" else ""
            change = words.changed(statistics.pooled(groups), measure)
            text = (
                f"{run_label(panel.method, panel.sparsity)}{written}, {measure.name}: {many} instead of {few} samples "
                f"change the mean over {len(groups)} sources by {change}"
            )
            ratio = spread_ratio(data, panel, measure)
            if ratio is not None:
                text += (
                    f", and the standard deviation over seeds by a factor of {ratio[0]:.2f} "
                    f"(95 % interval {ratio[1]:.2f} to {ratio[2]:.2f})"
                )
            sentences.append(f"{text}.")
    return " ".join(sentences)


def amount_drawing(name: str, data: StudyResults, *, shown: bool = True) -> Drawing:
    """The figure with its data and words; nothing where no run has a number of samples, or not `shown`."""
    there = shown and bool(panels_of(data))
    caption = amount_caption(data) if there else ""
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
