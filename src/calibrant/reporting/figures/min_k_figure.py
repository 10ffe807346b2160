"""Figure 5: densities of Min-K%++ scores, real text of each source against self-generated text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.distribution_figure import POINTS, axis_of, density, distribution_figure
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.panel_grid import legend
from calibrant.reporting.inference.generated_claims import min_k_contrast
from calibrant.reporting.inference.superiority import COLUMN, score_groups
from calibrant.reporting.inference.words import interval
from calibrant.reporting.results.numbers import listed, number
from calibrant.reporting.results.samples import middle

SCHEMA: dict[str, Any] = {"source": pl.String, "origin": pl.String, "score": pl.Float64, "density": pl.Float64}


def min_k_data(scores: pl.DataFrame, sources: Mapping[str, str]) -> pl.DataFrame:
    """The curves as drawn: [256] points for each text with five scores or more."""
    groups = score_groups(scores, sources)
    frames = [pl.DataFrame(schema=SCHEMA)]
    grid = axis_of(groups.values(), 0.1) if groups else np.empty(0)
    for (source, origin), values in groups.items():
        curve = density(values, grid)
        if curve is not None:
            names = {"source": [source] * POINTS, "origin": [origin] * POINTS}
            frames.append(pl.DataFrame({**names, "score": grid, "density": curve}, schema=SCHEMA))
    return pl.concat(frames)


def min_k_figure(scores: pl.DataFrame, sources: Mapping[str, str], min_k: str = "K") -> Figure | None:
    """All densities in one panel: real text dashed, self-generated text solid and filled; medians as marks below.

    Self-generated text of several sources would be a tangle: each source then has a panel of its own.

    Args:
        scores: frame of `samples.read_scores`.
        sources: names and labels in the order of the report.
        min_k: the share of tokens that the scores take, for the axis: `50`.
    """
    groups = score_groups(scores, sources)
    if not groups:
        return None
    marks, grid = drawing.source_marks(list(sources)), axis_of(groups.values(), 0.1)
    dashes = [d for d in drawing.DASHES if d != "-"]
    written = [source for source, origin in groups if origin == "synthetic"]
    if len(written) > 1:
        return distribution_figure(scores, COLUMN, sources)
    curves = {key: density(values, grid) for key, values in groups.items()}
    top = max((float(c.max()) for c in curves.values() if c is not None), default=1.0)
    with style.context():
        figure = Figure(figsize=(5.6, 3.2))
        axes = figure.subplots()
        handles = []
        for number, ((source, origin), values) in enumerate(groups.items()):
            real = origin == "real"
            # The self-generated text is in ink, no source's colour: it stands against all of them.
            colour = marks[source].colour if real else style.INK
            mark = drawing.Mark(colour, marks[source].marker, dashes[number % len(dashes)] if real else "-")
            curve = curves[source, origin]
            if curve is not None:
                axes.plot(grid, curve, color=colour, linestyle=mark.dashes, linewidth=1.7 if real else 2.0, zorder=3)
                if not real:
                    axes.fill_between(grid, curve, color=colour, alpha=0.12, linewidth=0, zorder=1)
            axes.plot([middle(values)], [-0.045 * top * (number + 1)], mark.marker, color=colour,
                      markersize=5, markerfacecolor=style.PAPER if real else colour, zorder=3)  # fmt: skip
            name = sources[source] if real else f"self-generated from {sources[source]}"
            handles.append(drawing.handle(mark, name, line=True, hollow=real))
        axes.set_ylim(-0.045 * top * (len(groups) + 1), 1.08 * top)
        axes.set_xlim(grid[0], grid[-1])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylabel("density")
        axes.set_xlabel(f"Min-{min_k}%++ score of a sample (high: taken as a sign of training data)")
        style.linear_ticks(axes)
        legend(figure, handles, 3)
        figure.tight_layout()
    return figure


def min_k_caption(scores: pl.DataFrame, sources: Mapping[str, str]) -> str:
    """What Figure 5 shows: how often self-generated samples score higher, with intervals.

    A single self-generated text is compared with every real one, several with the one of their source.
    """
    groups = score_groups(scores, sources)
    several = sum(origin == "synthetic" for _, origin in groups) > 1
    marks = "dotted lines are medians" if several else "marks below the curves are medians, hollow for real text"
    sentences = [f"Kernel densities (Scott's bandwidth); {marks}."]
    for source in (s for s, origin in groups if origin == "synthetic"):
        wanted = [other for other, origin in groups if origin == "real" and (not several or other == source)]
        found = {other: min_k_contrast(groups, source, other, sources) for other in wanted}
        parts = [
            f"{number(c.estimate.mean, 1, True)} for {sources[other]} ({interval(c.estimate, c.unit)})"
            for other, c in found.items()
            if c is not None
        ]
        if parts:
            sentences.append(
                f"The share of pairs in which text that the model wrote from prefixes of {sources[source]} scores "
                f"higher than real text, less 50 %, is {listed(parts)}."
            )
    return " ".join(sentences)


def min_k_drawing(name: str, scores: pl.DataFrame, labels: Mapping[str, str], percent: str) -> Drawing:
    """The figure with its data and words; `percent`: the share of tokens that the scores take."""
    return Drawing(
        name,
        min_k_figure(scores, labels, percent),
        min_k_data(scores, labels),
        "Min-K%++ of real and self-generated text",
        min_k_caption(scores, labels),
        "Densities of the scores: dashed for the real text of each source, solid and filled for self-generated text.",
    )
