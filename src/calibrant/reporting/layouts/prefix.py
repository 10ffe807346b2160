"""Figure 4: the length of the prefix from which the model writes, with the real text as a line."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from calibrant.reporting import statistics, style
from calibrant.reporting.comparison import Cell, Comparison
from calibrant.reporting.figures import Drawing
from calibrant.reporting.layouts import drawing, rows, words
from calibrant.reporting.layouts.slices import headline, in_order
from calibrant.reporting.measures import Measure
from calibrant.reporting.table import number

Slices = Mapping[float, Comparison]
MARKER = drawing.MARKERS[0]  # one for all sources, so that the legend holds: a panel has a single one
SHORT = (1, 4)  # the prefixes that section 6.2 calls optimal
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("measure", "method", "sparsity", "source", "origin"), pl.String),
    "prefix_length": pl.Int64,
    **dict.fromkeys(("mean", "sd", "low", "high"), pl.Float64),
    "n": pl.Int64,
}


def panels(prefixes: Slices) -> list[tuple[str, str, str]]:
    """(sparsity, method, source) with self-generated text, mildest sparsity first."""
    found = {
        (cell.sparsity, cell.method, str(cell.source)): None
        for data in prefixes.values()
        for cell in data.cells
        if cell.origin == "synthetic"
    }
    order = in_order(list(dict.fromkeys(sparsity for sparsity, _, _ in found)))
    return sorted(found, key=lambda key: order.index(key[0]))


def prefix_data(prefixes: Slices) -> pl.DataFrame:
    """The figure's numbers: a row for each outcome, panel and prefix length; null prefix: the real text."""
    found = []
    for panel in panels(prefixes):
        sparsity, method, source = panel
        for measure in headline(next(iter(prefixes.values()))):
            key = {"measure": measure.key, "method": method, "sparsity": sparsity, "source": source}
            lines: list[tuple[int | None, str, Comparison]] = [(None, "real", next(iter(prefixes.values())))]
            lines += [(int(p), "synthetic", data) for p, data in prefixes.items()]
            for prefix, origin, data in lines:
                e = data.estimate(Cell(method, sparsity, source, origin), measure)
                if e is not None:
                    found.append({**key, "origin": origin, "prefix_length": prefix, "mean": e.mean, "sd": e.sd,
                                  "n": e.n, "low": e.low, "high": e.high})  # fmt: skip
    return pl.DataFrame(found, schema=SCHEMA)


def place(prefix: float) -> float:
    """Where a prefix stands on the axis: powers of two one apart, and 0 one step before 1."""
    return -1.0 if prefix == 0 else math.log2(prefix)


def prefix_figure(prefixes: Slices) -> Figure | None:
    """Draw it: a panel per outcome, method, sparsity and source; None without self-generated text."""
    columns = panels(prefixes)
    if not columns:
        return None
    data = next(iter(prefixes.values()))
    marks, measures = drawing.marks_of(data), headline(data)
    width = max(3.1, 0.9 + 0.3 * len(prefixes))
    with style.context():
        figure = Figure(figsize=(max(4.8, 0.3 + width * len(columns)), 0.3 + 2.6 * len(measures)))
        grid = figure.subplots(len(measures), len(columns), squeeze=False)
        for row, measure in enumerate(measures):
            for column, (sparsity, method, source) in enumerate(columns):
                axes = grid[row][column]
                letter = drawing.letter(row * len(columns) + column)
                _panel(axes, prefixes, Cell(method, sparsity, source), measure, marks[source])
                axes.set_title(f"{letter} {data.source_label(source)}, {rows.setting(method, sparsity)}")
                if column == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        handles: list[Any] = [
            Line2D([], [], color=style.INK, marker=MARKER, markersize=5, label="self-generated"),
            Line2D([], [], color=style.INK, linestyle=drawing.DASHES[1], linewidth=1.2, label="real text"),
            Patch(facecolor=style.INK, alpha=0.16, label="± one standard deviation over seeds"),
        ]
        drawing.legend(figure, handles)
        figure.tight_layout(w_pad=1.6, h_pad=1.4)
    return figure


def _panel(axes: Axes, prefixes: Slices, cell: Cell, measure: Measure, mark: drawing.Mark) -> None:
    solid = drawing.Mark(mark.colour, MARKER, "-")
    synthetic = cell._replace(origin="synthetic")
    points = [(place(p), e) for p, at in prefixes.items() if (e := at.estimate(synthetic, measure)) is not None]
    # The step from no prefix to one token is no step of a log axis: no line joins them.
    for part in ([q for q in points if q[0] < 0], [q for q in points if q[0] >= 0]):
        if part:
            drawing.band(axes, [x for x, _ in part], [e for _, e in part], solid)
        if len(part) == 1 and part[0][1].sd is not None:
            drawing.point(axes, part[0][0], part[0][1], solid, size=5)
    limits = drawing.ends(e for _, e in points)
    real = next(iter(prefixes.values())).estimate(cell._replace(origin="real"), measure)
    if real is not None:
        axes.axhline(real.mean, color=mark.colour, linestyle=drawing.DASHES[1], linewidth=1.2, zorder=2)
        if real.sd is not None:
            axes.axhspan(real.mean - real.sd, real.mean + real.sd, color=mark.colour, alpha=0.09, linewidth=0, zorder=0)
        limits += drawing.ends([real])
    if limits:
        drawing.value_axis(axes, limits, log=measure.lower_is_better)
    places = [place(p) for p in prefixes]
    axes.set_xticks(places, [f"{p:.0f}" for p in prefixes])
    axes.set_xlim(min(places) - 0.5, max(places) + 0.5)
    if len(prefixes) > 9:
        axes.tick_params(axis="x", labelsize=7.5)
    axes.set_xlabel("prefix length, tokens (log scale from 1)")


def prefix_caption(prefixes: Slices) -> str:
    """What Figure 4 shows: prefixes that beat real text, and short against long ones."""
    sentences = ["Lines are means over seeds, shaded one standard deviation; dashed the real text of that source."]
    data = next(iter(prefixes.values()))
    for measure in headline(data):
        for key in panels(prefixes):
            sparsity, method, source = key
            where = f"{data.source_label(source)}, {rows.setting(method, sparsity)}, {measure.name}"
            differences = {p: at.difference(sparsity, method, source, measure) for p, at in prefixes.items()}
            known = {p: d for p, d in differences.items() if d is not None}
            parts = []
            if known:
                apart = rows.held_apart(known, lambda _: None)
                better = [p for p in apart if (known[p].mean < 0) == measure.lower_is_better]
                parts.append(
                    f"self-generated text is better than real text at {len(better)} of {len(known)} prefix lengths, "
                    f"worse at {len(apart) - len(better)}, undecided at {len(known) - len(apart)} (paired t tests, "
                    "p < 0.05 after Holm's correction)"
                )
            contrast = short_against_long(prefixes, Cell(method, sparsity, source, "synthetic"), measure)
            if contrast:
                parts.append(contrast)
            if parts:
                sentences.append(f"{where}: {'; '.join(parts)}.")
    return " ".join(sentences)


def short_against_long(prefixes: Slices, cell: Cell, measure: Measure) -> str:
    """The mean over prefixes of 1 to 4 tokens minus that over longer ones, paired by seed; empty without both."""
    short = [p for p in prefixes if SHORT[0] <= p <= SHORT[1]]
    long = [p for p in prefixes if p > SHORT[1]]
    groups = [[prefixes[p].values(cell, measure) for p in group] for group in (short, long)]
    if not all(groups) or not all(values for group in groups for values in group):
        return ""
    seeds = [s for s in groups[0][0] if all(s in values for group in groups for values in group)]
    if not seeds:
        return ""
    means: list[Sequence[float]] = [[sum(v[s] for v in group) / len(group) for s in seeds] for group in groups]
    found = statistics.paired_difference(means[1], means[0])
    return (
        f"prefixes of {number(min(short), 0)} to {number(max(short), 0)} tokens minus longer ones: "
        f"{words.changed(found, measure)}"
    )


def prefix_drawing(name: str, prefixes: Slices) -> Drawing:
    """The figure with its data and words; nothing to draw without slices."""
    caption = prefix_caption(prefixes) if prefixes else ""
    figure = prefix_figure(prefixes) if prefixes else None
    seen = "Line of the outcome against the prefix length with a shaded standard deviation; the real text is dashed."
    return Drawing(
        name,
        None if figure is None else (lambda: figure),
        prefix_data(prefixes),
        "The length of the prefix that the model continues",
        caption,
        f"{seen} {caption}".strip(),
    )
