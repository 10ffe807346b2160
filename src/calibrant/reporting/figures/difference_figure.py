"""Figure: self-generated minus real text, with 95 % intervals."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.panel_grid import grid, lines_of_targets
from calibrant.reporting.inference.contrasts import Contrast
from calibrant.reporting.inference.generated_claims import gain, gains
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import run_label, target_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults

TOGETHER = "These sources together"
WIDEST = 3  # times the largest mean: an interval that reaches farther leaves the panel
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("measure", "method", "sparsity", "source", "unit"), pl.String),
    **dict.fromkeys(("difference", "sd", "low", "high", "p"), pl.Float64),
    "n": pl.Int64,
}
Lines = dict[str | None, Contrast]  # by source; None: these sources together


def lines_of(data: StudyResults, measure: Measure, target: str, method: str) -> Lines:
    """The contrasts of a panel: each source, then these sources together."""
    scope = Scope(data, measure)
    found: Lines = {source: c for source, c in gains(scope, target, method).items()}  # noqa: C416
    over = gain(scope, target, methods=[method]) if len(found) > 1 else None
    return found | ({} if over is None else {None: over})


def difference_drawing(name: str, data: StudyResults) -> Drawing:
    """The figure with its data and words."""
    panels = {
        (measure, target, method): lines
        for measure in data.outcomes
        for target, method in data.combinations()
        if (lines := lines_of(data, measure, target, method))
    }
    rows = [
        {"measure": m.key, "method": method, "sparsity": target, "source": source, "unit": c.unit,
         "difference": c.estimate.mean, **{k: getattr(c.estimate, k) for k in ("sd", "low", "high", "p", "n")}}
        for (m, target, method), lines in panels.items()
        for source, c in lines.items()
    ]  # fmt: skip
    return Drawing(
        name,
        difference_figure(data, panels) if panels else None,
        pl.DataFrame(rows, schema=SCHEMA),
        "Self-generated minus real text",
        "Diamonds are differences of means, lines 95 % intervals over sets; an arrowhead marks an interval that "
        "leaves the panel. To the right self-generated text is better. An interval that crosses zero leaves open "
        "which text is better.",
        f"Differences in {' and '.join(m.name for m in data.outcomes)} between self-generated and real text for each "
        "source. The tables of differences hold the same numbers.",
    )


def difference_figure(data: StudyResults, panels: dict[tuple[Measure, str, str], Lines]) -> Figure:
    """Draw a panel per outcome, method and target."""
    targets = lines_of_targets([t for t in data.targets if any(target == t for _, target, _ in panels)])
    by_method = dict.fromkeys((measure, method) for measure, _, method in panels)
    rows = [(*key, line) for key in by_method for line in targets if any((key[0], t, key[1]) in panels for t in line)]
    columns = range(max(map(len, targets)))
    height = 0.95 + 0.31 * max(map(len, panels.values()))

    def draw(axes: Axes, row: tuple[Measure, str, list[str]], column: int, number: int) -> None:
        measure, method, beside = row
        target = beside[column] if column < len(beside) else ""
        lines = panels.get((measure, target, method))
        if not lines:
            axes.set_visible(False)
            return
        _panel(axes, data, lines)
        title = measure.label if measure.kind == "average" else measure.name[:1].upper() + measure.name[1:]
        place = run_label(method, target) if len(data.methods) > 1 else target_label(target)
        axes.set_title(f"{title}, {place}", fontsize=8.5)
        if any((measure, before, method) in panels for before in beside[:column]):
            axes.set_yticklabels([])

    size = max(6.4, 1.6 + 3.6 * len(columns)), 0.4 + height * len(rows)
    handle = Line2D([], [], color=style.INK, marker="D", markersize=5.5, linewidth=1.2, label="mean, 95 % interval")
    return grid(rows, columns, size, draw, [handle], pads=(2.2, 1.6), legend_pads=(0.8, 2.0))


def _panel(axes: Axes, data: StudyResults, lines: Lines) -> None:
    colours = style.colours(data.sources)
    limit = _limit([c.estimate for c in lines.values()])
    axes.axvline(0, color=style.MUTED, linewidth=0.9, zorder=1)
    for y, (source, c) in enumerate(lines.items()):
        colour = style.INK if source is None else colours[source]
        _interval(axes, y, colour, c.estimate, limit)
        axes.plot([c.estimate.mean], [y], "D", color=colour, markersize=5.5, zorder=3)
    labels = [TOGETHER if source is None else data.source_label(source) for source in lines]
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.set_ylim(len(labels) - 0.5, -0.9)
    axes.set_xlim(-limit, limit)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    style.linear_ticks(axes)
    axes.set_xlabel(f"difference, {next(iter(lines.values())).unit}")
    for x, text, align in ((0.0, "← real better", "left"), (1.0, "self-generated better →", "right")):
        axes.text(x, -0.68, text, transform=axes.get_yaxis_transform(), ha=align, va="center", size=7.5,
                  color=style.MUTED)  # fmt: skip


def _limit(estimates: Sequence[Estimate]) -> float:
    """Half the width of the axis: room for every mean, and for intervals up to three times the largest."""
    means = max(abs(e.mean) for e in estimates)
    ends = [max(abs(e.low), abs(e.high)) for e in estimates if e.low is not None and e.high is not None]
    return 1.12 * max([means, *(end for end in ends if end <= WIDEST * means)]) or 1.0


def _interval(axes: Axes, y: int, colour: str, e: Estimate, limit: float) -> None:
    if e.low is None or e.high is None:
        return
    axes.plot([max(e.low, -limit), min(e.high, limit)], [y, y], color=colour, linewidth=1.3, zorder=2)
    for end, edge, marker in ((e.low, -limit, "<"), (e.high, limit, ">")):
        if abs(end) > limit:
            axes.plot([edge * 0.985], [y], marker, color=colour, markersize=5, zorder=2, clip_on=False)
        else:
            axes.plot([end], [y], "|", color=colour, markersize=7, markeredgewidth=1.3, zorder=2)
