"""Figure 3: the number of calibration samples, a panel per outcome and method, a line per source."""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import stats

from calibrant.reporting import statistics, style
from calibrant.reporting.comparison import Cell, Comparison
from calibrant.reporting.figures import Drawing
from calibrant.reporting.layouts import drawing, rows, words
from calibrant.reporting.layouts.best import paired
from calibrant.reporting.layouts.slices import headline, in_order
from calibrant.reporting.measures import Measure
from calibrant.reporting.statistics import CONFIDENCE

Slices = Mapping[float, Comparison]
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("measure", "method", "sparsity", "source", "origin"), pl.String),
    "samples": pl.Int64,
    **dict.fromkeys(("mean", "sd", "low", "high"), pl.Float64),
    "n": pl.Int64,
}


def settings(amounts: Slices) -> list[tuple[str, str, str]]:
    """(sparsity, method, origin) of the panels, mildest sparsity first; those that vary, where some do."""
    found = {
        (cell.sparsity, cell.method, str(cell.origin)): None
        for data in amounts.values()
        for cell in data.cells
        if cell.source is not None
    }
    order = in_order(list(dict.fromkeys(sparsity for sparsity, _, _ in found)))
    panels = sorted(found, key=lambda key: order.index(key[0]))
    return [key for key in panels if len(of_panel(amounts, key)) > 1] or panels


def of_panel(amounts: Slices, key: tuple[str, str, str]) -> dict[float, Comparison]:
    """The slices that have runs of a panel."""
    sparsity, method, origin = key
    return {
        n: data
        for n, data in amounts.items()
        if any(Cell(method, sparsity, source, origin) in data.cells for source in data.sources)
    }


def amount_data(amounts: Slices) -> pl.DataFrame:
    """The figure's numbers: a row for each outcome, method, sparsity, source, origin and number of samples."""
    found = []
    for samples, data in amounts.items():
        for measure in headline(data):
            for cell in data.cells:
                e = data.estimate(cell, measure)
                if e is not None and cell.source is not None:
                    key = dict(zip(("method", "sparsity", "source", "origin"), cell, strict=True))
                    found.append({"measure": measure.key, **key, "samples": int(samples), "mean": e.mean, "sd": e.sd,
                                  "n": e.n, "low": e.low, "high": e.high})  # fmt: skip
    return pl.DataFrame(found, schema=SCHEMA)


def amount_figure(amounts: Slices) -> Figure | None:
    """Draw it: means over seeds, one standard deviation shaded, the number of samples on a log axis.

    None where no run has a number of samples.
    """
    panels = settings(amounts)
    if not panels:
        return None
    data = next(iter(amounts.values()))
    marks = {source: mark for each in amounts.values() for source, mark in drawing.marks_of(each).items()}
    sources = list(dict.fromkeys(source for each in amounts.values() for source in each.sources))
    measures = headline(data)
    with style.context():
        figure = Figure(figsize=(max(4.4, 0.3 + 3.5 * len(panels)), 0.3 + 2.6 * len(measures)))
        grid = figure.subplots(len(measures), len(panels), squeeze=False)
        for row, measure in enumerate(measures):
            for column, (sparsity, method, origin) in enumerate(panels):
                axes = grid[row][column]
                limits: list[float] = []
                for source in sources:
                    cell = Cell(method, sparsity, source, origin)
                    points = [(n, e) for n, at in amounts.items() if (e := at.estimate(cell, measure)) is not None]
                    if points:
                        drawing.band(axes, [n for n, _ in points], [e for _, e in points], marks[source])
                        limits += drawing.ends(e for _, e in points)
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_locator(FixedLocator(list(of_panel(amounts, (sparsity, method, origin)))))
                axes.xaxis.set_minor_locator(NullLocator())
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
                if limits:
                    drawing.value_axis(axes, limits, log=measure.lower_is_better)
                written = ", self-generated" if origin == "synthetic" else ""
                axes.set_title(
                    f"{drawing.letter(row * len(panels) + column)} {rows.setting(method, sparsity)}{written}"
                )
                axes.set_xlabel("calibration samples, log scale")
                if column == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        drawing.legend(figure, [drawing.handle(marks[s], data.source_label(s), line=True) for s in sources])
        figure.tight_layout(w_pad=1.6, h_pad=1.4)
    return figure


def spread_ratio(amounts: Slices, key: tuple[str, str, str], measure: Measure) -> tuple[float, float, float] | None:
    """Standard deviation over seeds with the most samples divided by that with the fewest, and its 95 % interval.

    The variances are pooled over the sources; the interval is that of a ratio of variances (F distribution), which
    takes values to be normal. None without two seeds at both ends, or without spread.
    """
    ends = of_panel(amounts, key)
    if len(ends) < 2:
        return None
    first, last = (_variance(ends[n], key, measure) for n in (min(ends), max(ends)))
    if first is None or last is None:
        return None
    ratio = last[0] / first[0]
    low, high = (float(stats.f.ppf(q, last[1], first[1])) for q in (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    return math.sqrt(ratio), math.sqrt(ratio / high), math.sqrt(ratio / low)


def _variance(data: Comparison, key: tuple[str, str, str], measure: Measure) -> tuple[float, int] | None:
    sparsity, method, origin = key
    groups = [list(data.values(Cell(method, sparsity, s, origin), measure).values()) for s in data.sources]
    groups = [group for group in groups if group]
    df = sum(len(group) - 1 for group in groups)
    sd = statistics.pooled(groups).sd if groups else None
    return None if sd is None or sd <= 1e-12 or df == 0 else (sd * sd, df)


def amount_caption(amounts: Slices) -> str:
    """What Figure 3 shows: the change from the fewest to the most samples, and that of the spread."""
    sentences = ["Lines are means over seeds, shaded one standard deviation."]
    for key in settings(amounts):
        ends = of_panel(amounts, key)
        few, many = min(ends), max(ends)
        if few == many:
            continue
        sparsity, method, origin = key
        for measure in headline(amounts[few]):
            cells = [Cell(method, sparsity, s, origin) for s in amounts[few].sources]
            groups = [paired(amounts[few].values(c, measure), amounts[many].values(c, measure)) for c in cells]
            groups = [group for group in groups if group]
            if not groups:
                continue
            written = " on self-generated text" if origin == "synthetic" else ""
            text = (
                f"{rows.setting(method, sparsity)}{written}, {measure.name}: {many:.0f} instead of {few:.0f} samples "
                f"change the mean over {len(groups)} sources by {words.changed(statistics.pooled(groups), measure)}"
            )
            ratio = spread_ratio(amounts, key, measure)
            if ratio is not None:
                text += (
                    f", and the standard deviation over seeds by a factor of {ratio[0]:.2f} "
                    f"(95 % interval {ratio[1]:.2f} to {ratio[2]:.2f})"
                )
            sentences.append(f"{text}.")
    return " ".join(sentences)


def amount_drawing(name: str, amounts: Slices) -> Drawing:
    """The figure with its data and words; nothing to draw without slices."""
    caption = amount_caption(amounts) if amounts else ""
    figure = amount_figure(amounts) if amounts else None
    seen = "Lines of the outcome against the number of samples, one per source with a shaded standard deviation; a "
    return Drawing(
        name,
        None if figure is None else (lambda: figure),
        amount_data(amounts),
        "The number of calibration samples",
        caption,
        f"{seen}panel per method. {caption}".strip(),
    )
