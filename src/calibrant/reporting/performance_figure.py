"""Figure: performance by source and origin, a column per sparsity, a row per outcome."""

import math
from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from calibrant.reporting import style
from calibrant.reporting.comparison import DENSE, Cell, Comparison, method_label, sparsity_label
from calibrant.reporting.measures import Measure, in_sentence

MARKERS = {"real": "o", "synthetic": "D"}
OFFSETS = {"real": -0.16, "synthetic": 0.16}  # real above self-generated, on an axis that points down


def performance_data(data: Comparison) -> pl.DataFrame:
    """The figure's numbers: one row per cell and outcome (mean, sd, n, and the single seeds' values)."""
    rows = []
    for measure in data.outcomes:
        for cell in data.cells:
            found = data.estimate(cell, measure)
            if found is not None:
                rows.append(
                    {
                        "measure": measure.key,
                        "method": cell.method,
                        "sparsity": cell.sparsity,
                        "source": cell.source,
                        "origin": cell.origin,
                        "mean": found.mean,
                        "sd": found.sd,
                        "n": found.n,
                        "values": " ".join(f"{v:.6g}" for v in data.values(cell, measure).values()),
                    }
                )
    schema = dict.fromkeys(("measure", "method", "sparsity", "source", "origin"), pl.String)
    return pl.DataFrame(
        rows, schema={**schema, "mean": pl.Float64, "sd": pl.Float64, "n": pl.Int64, "values": pl.String}
    )


def performance_figure(data: Comparison) -> Figure:
    """Draw it. Points are means over seeds, bars one standard deviation, small ticks the single seeds.

    Dense and magnitude are vertical lines; where one is far outside the points, an arrow at the edge
    says where it lies, so that it does not squeeze what the figure is about.
    """
    lines, _ = _rows(data)
    measures, sparsities = data.outcomes, [s for s in data.sparsities if any(c == s for c, _ in data.combinations())]
    height = 0.95 + 0.34 * len(lines) + 0.28 * (len(data.methods) > 1) * len(data.methods)
    with style.context():
        figure = Figure(figsize=(max(6.4, 1.5 + 3.7 * len(sparsities)), 0.4 + height * len(measures)))
        grid = figure.subplots(len(measures), len(sparsities), squeeze=False)
        for row, measure in enumerate(measures):
            for column, sparsity in enumerate(sparsities):
                axes = grid[row][column]
                _panel(axes, data, measure, sparsity, named=column == 0)
                axes.set_title(f"{_heading(measure)}, {sparsity_label(sparsity)}")
                if column:
                    axes.set_yticklabels([])
        _legend(figure, data, height * len(measures))
        figure.tight_layout(w_pad=2.2, h_pad=1.6)
    return figure


def _heading(measure: Measure) -> str:
    if measure.kind == "perplexity":
        return f"Perplexity on {in_sentence(measure.label)}"
    return measure.label if measure.kind == "average" else f"Accuracy on {measure.label}"


def _panel(axes: Axes, data: Comparison, measure: Measure, sparsity: str, *, named: bool) -> None:
    colours = style.colours(data.sources)
    positions, labels = _rows(data)
    shown: list[float] = []
    for (method, source), y in positions.items():
        for origin in data.origins:
            values = list(data.values(Cell(method, sparsity, source, origin), measure).values())
            if values:
                shown += _point(axes, values, y + OFFSETS[origin], colours[source], origin)
    axes.set_yticks(list(positions.values()), labels)
    axes.tick_params(axis="y", labelcolor=style.INK)
    last = max(positions.values(), default=0)
    axes.set_ylim(last + 0.6, -0.95)
    if named and len(data.methods) > 1:
        for method in dict.fromkeys(m for m, _ in positions):
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
        _limits(axes, data, measure, sparsity, shown)
    axes.set_xlabel("perplexity, log scale (lower is better)" if measure.lower_is_better else "% (higher is better)")


def _rows(data: Comparison) -> tuple[dict[tuple[str, str], float], list[str]]:
    run = {(cell.method, cell.source) for cell in data.cells}
    positions, labels, y = {}, [], 0.0
    for number, method in enumerate(data.methods):
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


def _limits(axes: Axes, data: Comparison, measure: Measure, sparsity: str, shown: Sequence[float]) -> None:
    """Limits around the points; references inside or near them are lines, farther ones arrows at the edge."""
    log = measure.lower_is_better
    forward, back = (math.log, math.exp) if log else (float, float)
    spread = [forward(v) for v in shown if v > 0 or not log]
    low, high = min(spread), max(spread)
    width = max(high - low, 0.08 if log else 1.0)
    references = {}
    for cell in (DENSE, Cell("magnitude", sparsity)):
        found = data.estimate(cell, measure)
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
    for name, x in references.items():
        text = f"{method_label(name)} {style.plain(back(x))}"
        linestyle = (0, (5, 2)) if name == "magnitude" else (0, (1, 1.2))
        if name in near:
            axes.axvline(back(x), color=style.MUTED, linewidth=1, linestyle=linestyle, zorder=1)
            align = "left" if x < low + 0.25 * (high - low) else "right" if x > high - 0.25 * (high - low) else "center"
            axes.text(
                back(x),
                -0.72,
                text,
                ha=align,
                va="center",
                size=8,
                color=style.MUTED,
                bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.8},
            )
        else:
            left = x < low
            axes.text(
                0.0 if left else 1.0,
                -0.72,
                f"← {text}" if left else f"{text} →",
                transform=axes.get_yaxis_transform(),
                ha="left" if left else "right",
                va="center",
                size=8,
                color=style.MUTED,
            )


def _legend(figure: Figure, data: Comparison, height: float) -> None:
    words = {"real": "real text", "synthetic": "self-generated text"}
    handles = [
        Line2D(
            [],
            [],
            color=style.INK,
            marker=MARKERS[o],
            linestyle="none",
            markersize=6,
            markeredgewidth=1.5,
            markerfacecolor=style.PAPER if o == "real" else style.INK,
            label=words[o],
        )
        for o in data.origins
    ]
    handles += [Line2D([], [], color=style.INK, linewidth=1.8, label="± one standard deviation over seeds")]
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(handles),
        fontsize=8.5,
        handletextpad=0.5,
        columnspacing=1.8,
    )
