"""Figures: the distributions of perplexity and of Min-K%++, real against self-generated, a panel per source."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.results.samples import middle, text_scores

POINTS = 256  # of a curve
COLUMNS = {"perplexity": "perplexity of a sample, log scale", "min_k_plus_plus": "Min-K%++ of a sample"}


def density(values: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Gaussian kernel density [grid] with Scott's bandwidth; None below five values or without any spread."""
    if len(values) < 5 or np.ptp(values) == 0:
        return None
    curve: npt.NDArray[np.float64] = stats.gaussian_kde(values)(grid)
    return curve


def axis_of(values: Iterable[npt.NDArray[np.float64]], room: float = 0.08) -> npt.NDArray[np.float64]:
    """Points [256] of an axis: the middle 99 % of the scores and some room, since a broken sample must flatten none."""
    low, high = np.quantile(np.concatenate(list(values)), [0.005, 0.995])
    pad = room * max(high - low, 1e-6)
    return np.linspace(low - pad, high + pad, POINTS)


def distribution_figure(scores: pl.DataFrame, column: str, labels: Mapping[str, str]) -> Figure:
    """Draw one panel per source of `labels`: densities (on a log axis for perplexity), every sample, medians.

    Args:
        scores: frame of `samples.read_scores`.
        column: `perplexity` or `min_k_plus_plus`.
        labels: sources in the order of the report, with their labels.
    """
    log = column == "perplexity"
    shown = [s for s in labels if s in set(scores["source"])]
    colours = style.colours(list(labels))
    values = {
        (source, origin): _values(scores, source, origin, column, log)
        for source in shown
        for origin in ("real", "synthetic")
    }
    grid = axis_of(values.values())
    columns = 2 if len(shown) > 1 else 1
    rows = math.ceil(len(shown) / columns)
    with style.context():
        figure = Figure(figsize=(3.9 * columns + 0.3, 1.75 * rows + 0.35))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for axes, source in zip(panels, shown, strict=False):
            both = [values[source, origin] for origin in ("real", "synthetic")]
            _panel(axes, both, grid, colours[source], log)
            axes.set_title(labels[source])
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(shown) - columns) : len(shown)]:
            axes.set_xlabel(COLUMNS[column])
            axes.tick_params(labelbottom=True)
        figure.tight_layout(w_pad=2.0, h_pad=1.2)
    return figure


def _values(scores: pl.DataFrame, source: str, origin: str, column: str, log: bool) -> npt.NDArray[np.float64]:
    found = text_scores(scores, source, origin, column)
    return np.log(found) if log else found


def _panel(
    axes: Axes, both: Sequence[npt.NDArray[np.float64]], grid: npt.NDArray[np.float64], colour: str, log: bool
) -> None:
    back = np.exp if log else np.asarray
    curves = [density(values, grid) for values in both]
    top = max([float(c.max()) for c in curves if c is not None], default=1.0)
    marks = []
    for which, (values, curve) in enumerate(zip(both, curves, strict=True)):
        if not len(values):
            continue
        ink = style.MUTED if which == 0 else colour
        dashes = (0, (4, 1.6)) if which == 0 else "-"
        if curve is not None:
            axes.plot(back(grid), curve, color=ink, linestyle=dashes, linewidth=1.7, zorder=3)
            if which == 1:
                axes.fill_between(back(grid), curve, color=ink, alpha=0.18, linewidth=0, zorder=1)
        inside = values[(values >= grid[0]) & (values <= grid[-1])]
        axes.plot(
            back(inside),
            np.full(len(inside), -0.07 * top * (which + 1)),
            "|",
            color=ink,
            markersize=4.5,
            markeredgewidth=0.7,
            zorder=2,
        )
        marks.append(
            (
                math.log(middle(np.exp(values))) if log else middle(values),
                curve,
                ink,
                "real" if which == 0 else "self-generated",
            )
        )
    _label(axes, marks, grid, top, log)
    axes.set_ylim(-0.22 * top, 1.5 * top)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if log:
        axes.set_xscale("log")
        style.log_ticks(axes, math.exp(grid[0]), math.exp(grid[-1]))
    else:
        style.linear_ticks(axes)
    axes.set_xlim(float(back(grid[0])), float(back(grid[-1])))


def _label(
    axes: Axes,
    marks: Sequence[tuple[float, npt.NDArray[np.float64] | None, str, str]],
    grid: npt.NDArray[np.float64],
    top: float,
    log: bool,
) -> None:
    """Name each curve and its median in a line of its own above the curves, so that names never collide."""
    back = math.exp if log else float
    width = grid[-1] - grid[0]
    for place, (median, curve, ink, name) in enumerate(sorted(marks, key=lambda mark: mark[0])):
        height = top if curve is None else float(np.interp(median, grid, curve))
        axes.plot([back(median)] * 2, [0, height], color=ink, linewidth=0.9, linestyle=(0, (1, 1.5)), zorder=2)
        fraction = (median - grid[0]) / width
        axes.text(
            back(min(max(median, grid[0] + 0.01 * width), grid[-1] - 0.01 * width)),
            top * (1.36 - 0.2 * place),
            f"{name}, median {style.plain(back(median))}",
            ha="left" if fraction < 0.5 else "right",
            va="center",
            size=8,
            color=ink,
        )


WORDS = {
    "perplexity": ("How predictable the text is to the unpruned model", "Farther left is more predictable."),
    "min_k_plus_plus": (
        "Min-K%++: how near the text is to what the model expects, by its least likely tokens",
        "Farther right is nearer; the method takes high values as a sign of training data.",
    ),
}


def distribution_drawing(name: str, scores: pl.DataFrame, column: str, labels: Mapping[str, str]) -> Drawing:
    """The figure of one score's distribution, with its data and words; arguments as `distribution_figure`."""
    scored = scores.filter(pl.col("source").is_in(list(labels)))
    title, see = WORDS[column]
    return Drawing(
        name,
        distribution_figure(scored, column, labels) if len(scored) else None,
        scored.select("source", "origin", "seed", "sample_id", column),
        title,
        "A panel per source: real text (dashed) and text that the model wrote (solid, filled); ticks are single "
        f"samples, dotted lines medians. {see}",
        f"Densities of {COLUMNS[column].split(' of')[0]} of real and self-generated samples for each source. The "
        "table of the calibration text holds the medians.",
    )
