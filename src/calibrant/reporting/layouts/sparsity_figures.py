"""Figures 2, 6, 7 and 8: what the choice of source does at each sparsity, for one method."""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibrant.reporting import style
from calibrant.reporting.comparison import Cell, Comparison, method_label, share, sparsity_label
from calibrant.reporting.layouts import drawing, words
from calibrant.reporting.layouts.ranges import Range, value_range
from calibrant.reporting.layouts.slices import headline, in_order
from calibrant.reporting.measures import Measure
from calibrant.reporting.statistics import Estimate

COLUMNS = 3  # panels in a row, as in the paper
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("measure", "method", "sparsity", "source", "origin"), pl.String),
    **dict.fromkeys(("mean", "sd", "low", "high"), pl.Float64),
    "n": pl.Int64,
}
RANGE_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("measure", "method", "sparsity", "lowest", "highest"), pl.String),
    "sources": pl.Int64,
    **dict.fromkeys(("range", "low", "high"), pl.Float64),
}


def estimates_data(data: Comparison, methods: Sequence[str]) -> pl.DataFrame:
    """The numbers of Figures 1, 6, 7 and 8: a row for each outcome, method, sparsity, source and origin."""
    rows = []
    for measure in headline(data):
        for cell in data.cells:
            found = data.estimate(cell, measure)
            if found is not None and (cell.method in methods or cell.source is None):
                key = dict(zip(("method", "sparsity", "source", "origin"), cell, strict=True))
                rows.append({"measure": measure.key, **key, "mean": found.mean, "sd": found.sd, "n": found.n,
                             "low": found.low, "high": found.high})  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMA)


def source_range(data: Comparison, method: str, sparsity: str, measure: Measure) -> Range | None:
    """The range over the real sources of a method's means at a sparsity."""
    cells = {s: Cell(method, sparsity, s, "real") for s in data.sources}
    return value_range({s: list(data.values(cell, measure).values()) for s, cell in cells.items()})


def range_data(data: Comparison, methods: Sequence[str]) -> pl.DataFrame:
    """The numbers of Figure 2: a row for each outcome, method and sparsity."""
    rows = []
    for measure in headline(data):
        for method in methods:
            for sparsity in in_order(data.sparsities):
                found = source_range(data, method, sparsity, measure)
                if found is not None:
                    rows.append({"measure": measure.key, "method": method, "sparsity": sparsity,
                                 "lowest": found.lowest, "highest": found.highest, "sources": found.groups,
                                 "range": found.value, "low": found.low, "high": found.high})  # fmt: skip
    return pl.DataFrame(rows, schema=RANGE_SCHEMA)


def range_figure(data: Comparison, methods: Sequence[str]) -> Figure | None:
    """Figure 2: the range over sources against (a) the sparsity ratio and (b) the type of sparsity at one half.

    A row of panels per outcome, a grey line per method, bars from low to high of the range's interval; None without
    two sources anywhere.
    """
    measures = headline(data)
    found = {
        (measure, method, sparsity): r
        for measure in measures
        for method in methods
        for sparsity in data.sparsities
        if (r := source_range(data, method, sparsity, measure)) is not None
    }
    if not found:
        return None
    run = {sparsity for _, _, sparsity in found}
    ratios = [s for s in in_order(data.sparsities) if s in run and ":" not in s]
    types = [s for s in in_order(data.sparsities) if s in run and share(s) == 0.5]
    panels = [*([ratios] if ratios else []), *([types] if any(":" in s for s in types) else [])]
    panels = panels or [in_order(list(run))]
    marks = drawing.method_marks(methods)
    with style.context():
        figure = Figure(figsize=(max(4.6, 3.4 * len(panels)), 0.3 + 2.5 * len(measures)))
        grid = figure.subplots(len(measures), len(panels), squeeze=False, sharey="row")
        for row, measure in enumerate(measures):
            for column, sparsities in enumerate(panels):
                axes = grid[row][column]
                by_ratio = sparsities is ratios
                for number, method in enumerate(methods):
                    here = [(s, found[measure, method, s]) for s in sparsities if (measure, method, s) in found]
                    shift = (number - (len(methods) - 1) / 2) * (0.6 if by_ratio else 0.12)
                    xs = [(100 * share(s) if by_ratio else sparsities.index(s)) + shift for s, _ in here]
                    _ranges(axes, xs, [r for _, r in here], marks[method], joined=by_ratio)
                axes.set_title(f"{drawing.letter(row * len(panels) + column)} {drawing.heading(measure)}")
                if by_ratio:
                    axes.set_xticks([100 * share(s) for s in sparsities])
                    axes.set_xlabel("pruned weights, %")
                else:
                    names = [s if ":" in s else f"unstructured\n{sparsity_label(s)}" for s in sparsities]
                    axes.set_xticks(range(len(sparsities)), names)
                    axes.set_xlim(-0.5, len(sparsities) - 0.5)
                    axes.set_xlabel("type of sparsity")
                axes.grid(axis="y")
                axes.spines["left"].set_visible(False)
            tops = [r.high or r.value for (m, _, _), r in found.items() if m == measure]
            grid[row][0].set_ylim(0, 1.12 * max(*tops, 1e-9))
            grid[row][0].set_ylabel("max − min, " + ("perplexity" if measure.kind == "perplexity" else "points"))
        if len(methods) > 1:
            handles = [drawing.handle(marks[m], method_label(m), line=True) for m in methods]
            drawing.legend(figure, handles)
        figure.tight_layout(w_pad=1.6, h_pad=1.4)
    return figure


def _ranges(axes: Axes, xs: Sequence[float], ranges: Sequence[Range], mark: drawing.Mark, *, joined: bool) -> None:
    if joined:
        axes.plot(xs, [r.value for r in ranges], color=mark.colour, linestyle=mark.dashes, linewidth=1.2, zorder=2)
    for x, r in zip(xs, ranges, strict=True):
        if r.low is not None and r.high is not None:
            axes.errorbar([x], [r.value], yerr=[[r.value - r.low], [r.high - r.value]], fmt="none", ecolor=mark.colour,
                          elinewidth=1.2, capsize=2.5, zorder=2)  # fmt: skip
        axes.plot([x], [r.value], mark.marker, color=mark.colour, markersize=5.5, zorder=3, clip_on=False)


def range_caption(data: Comparison, methods: Sequence[str]) -> str:
    """What Figure 2 shows, with the mildest and the hardest setting in numbers."""
    sentences = []
    for measure in headline(data):
        for method in methods:
            found = [(s, source_range(data, method, s, measure)) for s in in_order(data.sparsities)]
            known = [(s, r) for s, r in found if r is not None]
            if not known:
                continue
            picked = known if len(known) < 3 else [known[0], known[-1]]
            if len(known) > 2:
                picked.insert(1, max(known[1:-1], key=lambda pair: pair[1].value))
            parts = [f"{words.ranged(r, measure)} at {sparsity_label(s)}" for s, r in picked]
            sentences.append(
                f"{method_label(method)}, {measure.name}: over {known[0][1].groups} sources {words.listed(parts)}."
            )
    return (
        "Range of the means over seeds, best source minus worst. Bars: 95 % intervals from the studentized range, "
        "which allow for the largest and the smallest mean having been picked. " + " ".join(sentences)
    )


def sources_figure(data: Comparison, method: str) -> Figure | None:
    """Figures 6, 7 and 8: a panel per sparsity, a point per source, the dashed line magnitude; a block per outcome.

    Real text is filled; where self-generated text was run too, it stands beside it, hollow. None without any run.
    """
    sparsities = [s for s in in_order(data.sparsities) if (s, method) in data.combinations()]
    measures = headline(data)
    if not sparsities or not measures:
        return None
    columns = min(COLUMNS, len(sparsities))
    lines = math.ceil(len(sparsities) / columns)
    with style.context():
        size = (max(4.2, 0.5 + 2.45 * columns), len(measures) * (0.6 + 1.6 * lines))
        # Constrained, since only the last line of a block has names below its panels.
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(lines * len(measures), columns, squeeze=False)
        for block, measure in enumerate(measures):
            for number in range(lines * columns):
                axes = grid[block * lines + number // columns][number % columns]
                if number >= len(sparsities):
                    axes.set_visible(False)
                    continue
                _sources_panel(axes, data, Cell(method, sparsities[number]), measure)
                letter = drawing.letter(block * len(sparsities) + number)
                axes.set_title(f"{letter} {sparsity_label(sparsities[number])}")
                if number + columns < len(sparsities):
                    axes.set_xticklabels([])  # the panel below names them
                if number % columns == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        drawing.legend(figure, _handles(data), 6)
    return figure


def _handles(data: Comparison) -> list[Any]:
    marks = drawing.marks_of(data)
    handles = [drawing.handle(marks[s], data.source_label(s)) for s in data.sources]
    if len(data.origins) > 1:
        grey = drawing.Mark(style.MUTED, "o", "-")
        handles += [drawing.handle(grey, "real"), drawing.handle(grey, "self-generated", hollow=True)]
    if any(cell.method == "magnitude" for cell in data.cells):
        handles.append(drawing.MAGNITUDE_HANDLE)
    return handles


def _sources_panel(axes: Axes, data: Comparison, cell: Cell, measure: Measure) -> None:
    marks = drawing.marks_of(data)
    offset = 0.14 if len(data.origins) > 1 else 0.0
    shown: list[Estimate] = []
    for x, source in enumerate(data.sources):
        for origin in data.origins:
            found = data.estimate(Cell(cell.method, cell.sparsity, source, origin), measure)
            if found is not None:
                shift = -offset if origin == "real" else offset
                drawing.point(axes, x + shift, found, marks[source], hollow=origin != "real")
                shown.append(found)
    limits = drawing.ends(shown)
    magnitude = data.estimate(Cell("magnitude", cell.sparsity), measure)
    if magnitude is not None and limits:
        limits += drawing.reference_line(axes, "magnitude", magnitude.mean, limits)
    if limits:
        drawing.value_axis(axes, limits, log=measure.lower_is_better)
    axes.set_xticks(range(len(data.sources)), [data.source_label(s) for s in data.sources])
    if len(data.sources) > 3 or max(len(data.source_label(s)) for s in data.sources) > 8:
        axes.tick_params(axis="x", rotation=25)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, len(data.sources) - 0.4)


def sources_caption(data: Comparison, method: str) -> str:
    """What Figures 6, 7 and 8 show: the range at each sparsity, and sources that fall behind magnitude."""
    sentences = [
        f"{method_label(method)}. Means over seeds, bars one standard deviation; each panel has an axis of its own. "
        "Dashed: magnitude pruning, which uses no data (a note at the edge where it lies outside the panel)."
    ]
    for measure in headline(data):
        parts = [
            f"{words.ranged(r, measure)} at {sparsity_label(s)}"
            for s in in_order(data.sparsities)
            if (r := source_range(data, method, s, measure)) is not None
        ]
        if parts:
            sentences.append(f"Between the best and the worst source lie, in {measure.name}, {words.listed(parts)}.")
    return " ".join(sentences)
