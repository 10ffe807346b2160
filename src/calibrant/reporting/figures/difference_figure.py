"""Figure: self-generated minus real, paired by seed, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.cell_differences import by_source
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults

TOGETHER = "These sources together"


def difference_figure(data: StudyResults) -> Figure | None:
    """Draw a panel per outcome, method and sparsity; None when no source has both texts.

    Small circles are the seeds, diamonds the means, lines the 95 % t intervals. With few seeds an interval
    can be many times as wide as the differences themselves: it then leaves the panel, with an arrowhead.
    """
    panels = {
        (measure, sparsity, method): groups
        for measure in data.outcomes
        for sparsity, method in data.combinations()
        if (groups := by_source(data, sparsity, method, measure))
    }
    if not panels:
        return None
    columns = [s for s in data.sparsities if any(p[1] == s for p in panels)]
    rows = list(dict.fromkeys((measure, method) for measure, _, method in panels))
    lines = max(len(groups) for groups in panels.values()) + 1
    with style.context():
        height = 0.95 + 0.31 * lines
        figure = Figure(figsize=(max(6.4, 1.6 + 3.6 * len(columns)), 0.4 + height * len(rows)))
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharey=True)
        for row, (measure, method) in enumerate(rows):
            for column, sparsity in enumerate(columns):
                axes = grid[row][column]
                groups = panels.get((measure, sparsity, method), {})
                if not groups:
                    axes.set_visible(False)
                    continue
                _panel(axes, data, measure, groups)
                title = measure.label if measure.kind == "average" else measure.name[:1].upper() + measure.name[1:]
                prefix = f"{method_label(method)}, " if len(data.methods) > 1 else ""
                axes.set_title(f"{title}, {prefix}{sparsity_label(sparsity)}", fontsize=8.5)
        handles = [
            Line2D([], [], color=style.INK, marker="D", markersize=5.5, linewidth=1.2, label="mean, 95 % interval"),
            Line2D([], [], color=style.INK, marker="o", markersize=3.5, linestyle="none", alpha=0.6, label="one seed"),
        ]
        figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5)
        figure.tight_layout(w_pad=2.2, h_pad=1.6)
    return figure


def _panel(axes: Axes, data: StudyResults, measure: Measure, groups: Mapping[str, Sequence[float]]) -> None:
    colours = style.colours(data.sources)
    rows: list[tuple[str, str, Sequence[float], Estimate]] = [
        (data.source_label(s), colours[s], values, statistics.estimate(values)) for s, values in groups.items()
    ]
    if len(rows) > 1:
        rows.append((TOGETHER, style.INK, [], statistics.pooled(list(groups.values()))))
    limit = _limit([(values, e) for _, _, values, e in rows])
    axes.axvline(0, color=style.MUTED, linewidth=0.9, zorder=1)
    for y, (_, colour, values, e) in enumerate(rows):
        axes.plot(values, [y] * len(values), "o", color=colour, markersize=3.5, alpha=0.6, markeredgewidth=0, zorder=4)
        _interval(axes, y, colour, e, limit)
        axes.plot([e.mean], [y], "D", color=colour, markersize=5.5, zorder=3)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_ylim(len(rows) - 0.5, -0.9)
    axes.set_xlim(-limit, limit)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    style.linear_ticks(axes)
    axes.set_xlabel("difference in perplexity" if measure.lower_is_better else "difference in percentage points")
    sides = ("self-generated better", "real better") if measure.lower_is_better else ("real better", "self-gen. better")
    for x, text, align in ((0.0, f"← {sides[0]}", "left"), (1.0, f"{sides[1]} →", "right")):
        axes.text(x, -0.68, text, transform=axes.get_yaxis_transform(), ha=align, va="center", size=7.5,
                  color=style.MUTED)  # fmt: skip


def _limit(rows: Sequence[tuple[Sequence[float], Estimate]]) -> float:
    """Half the width of the axis: room for every seed, and for intervals up to three times that."""
    seeds = max([abs(v) for values, _ in rows for v in [*values]] or [1.0])
    ends = [max(abs(e.low), abs(e.high)) for _, e in rows if e.low is not None and e.high is not None]
    return 1.12 * max([seeds, *(end for end in ends if end <= 3 * seeds)]) or 1.0


def _interval(axes: Axes, y: int, colour: str, e: Estimate, limit: float) -> None:
    if e.low is None or e.high is None:
        return
    axes.plot([max(e.low, -limit), min(e.high, limit)], [y, y], color=colour, linewidth=1.3, zorder=2)
    for end, edge, marker in ((e.low, -limit, "<"), (e.high, limit, ">")):
        if abs(end) > limit:
            axes.plot([edge * 0.985], [y], marker, color=colour, markersize=5, zorder=2, clip_on=False)
        else:
            axes.plot([end], [y], "|", color=colour, markersize=7, markeredgewidth=1.3, zorder=2)


def difference_data(data: StudyResults) -> pl.DataFrame:
    """The figure's numbers: a row for each outcome, method, sparsity and source (null: these sources together)."""
    rows = []
    for measure in data.outcomes:
        for sparsity, method in data.combinations():
            groups = by_source(data, sparsity, method, measure)
            found: list[tuple[str | None, Estimate]] = [(s, statistics.estimate(v)) for s, v in groups.items()]
            if len(groups) > 1:
                found.append((None, statistics.pooled(list(groups.values()))))
            for source, e in found:
                key = {"measure": measure.key, "method": method, "sparsity": sparsity, "source": source}
                rows.append({**key, "mean": e.mean, "sd": e.sd, "n": e.n, "low": e.low, "high": e.high, "p": e.p})
    schema: dict[str, Any] = dict.fromkeys(("measure", "method", "sparsity", "source"), pl.String)
    schema |= dict.fromkeys(("mean", "sd", "low", "high", "p"), pl.Float64)
    return pl.DataFrame(rows, schema={**schema, "n": pl.Int64})


def difference_drawing(name: str, data: StudyResults) -> Drawing:
    """The figure with its data and words."""
    return Drawing(
        name,
        difference_figure(data),
        difference_data(data),
        "Self-generated minus real, paired by seed",
        "Diamonds are means, lines 95 % t intervals, small circles single seeds; an arrowhead marks an interval "
        "that leaves the panel. An interval that crosses zero does not settle which text is better.",
        f"Differences in {' and '.join(m.name for m in data.outcomes)} between self-generated and real text for each "
        "source. The tables of differences hold the same numbers.",
    )
