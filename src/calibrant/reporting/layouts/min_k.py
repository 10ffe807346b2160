"""Figure 5: densities of Min-K%++ scores, real text of each source against self-generated text."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure
from scipy import stats

from calibrant.reporting import style
from calibrant.reporting.distribution_figure import density, distribution_figure
from calibrant.reporting.layouts import drawing
from calibrant.reporting.statistics import CONFIDENCE
from calibrant.reporting.table import Column, Row, Section, Table

COLUMN = "min_k_plus_plus"
Array = npt.NDArray[np.float64]
SCHEMA: dict[str, Any] = {"source": pl.String, "origin": pl.String, "score": pl.Float64, "density": pl.Float64}
POINTS = 256


def superiority(higher: Array, lower: Array) -> tuple[float, float | None, float | None] | None:
    """Probability that a value of `higher` exceeds one of `lower` (ties count half), and its 95 % interval.

    This is the area under the ROC curve; the standard error is DeLong's (1988), the interval normal on the logit
    scale, which keeps it within 0 and 1. None below two values; an area of exactly 0 or 1 has no such interval.
    """
    m, n = len(higher), len(lower)
    if m < 2 or n < 2:
        return None
    ranks = stats.rankdata(np.concatenate([higher, lower]))
    over = (ranks[:m] - stats.rankdata(higher)) / n  # for each of `higher`, the share of `lower` below it
    under = 1 - (ranks[m:] - stats.rankdata(lower)) / m
    area = float(over.mean())
    error = math.sqrt(float(over.var(ddof=1)) / m + float(under.var(ddof=1)) / n)
    if not 0 < area < 1 or error == 0:
        return area, None, None
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * error / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return area, 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))


def score_groups(scores: pl.DataFrame, sources: Mapping[str, str]) -> dict[tuple[str, str], Array]:
    """Finite scores by (source, origin), real text first, in the order of `sources`; empty groups are left out."""
    groups: dict[tuple[str, str], Array] = {}
    for origin in ("real", "synthetic"):
        for source in sources:
            chosen = scores.filter((pl.col("source") == source) & (pl.col("origin") == origin))[COLUMN].drop_nulls()
            values: Array = chosen.to_numpy()
            values = values[np.isfinite(values)]
            if len(values):
                groups[source, origin] = values
    return groups


def _grid(groups: Mapping[tuple[str, str], Array]) -> Array:
    # The middle 99 % decide the axis: one broken sample must not flatten the rest.
    low, high = np.quantile(np.concatenate(list(groups.values())), [0.005, 0.995])
    pad = 0.1 * max(high - low, 1e-6)
    return np.linspace(low - pad, high + pad, POINTS)


def min_k_data(scores: pl.DataFrame, sources: Mapping[str, str]) -> pl.DataFrame:
    """The curves as drawn: [256] points for each text with five scores or more."""
    groups = score_groups(scores, sources)
    frames = [pl.DataFrame(schema=SCHEMA)]
    for (source, origin), values in groups.items():
        grid = _grid(groups)
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
    marks, grid = drawing.source_marks(list(sources)), _grid(groups)
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
            axes.plot([float(np.median(values))], [-0.045 * top * (number + 1)], mark.marker, color=colour,
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
        drawing.legend(figure, handles, 3)
        figure.tight_layout()
    return figure


def min_k_table(scores: pl.DataFrame, sources: Mapping[str, str]) -> list[Table]:
    """Medians, and how often a self-generated sample scores higher than a real one; a section per written text."""
    groups = score_groups(scores, sources)
    columns = [
        Column("samples", "Samples", decimals=0),
        Column("median", "Median", decimals=3),
        Column("higher", "Self-gen. higher", "% of pairs", 1),
        Column("higher_low", "from", "95 %", 1),
        Column("higher_high", "to", "95 %", 1),
    ]
    sections = []
    generated: list[tuple[str, str] | None] = [key for key in groups if key[1] == "synthetic"]
    for written in generated or [None]:
        shown = []
        if written is not None:
            own = groups[written]
            shown.append(Row("self-generated", [len(own), float(np.median(own)), None, None, None], "synthetic"))
        for key, values in groups.items():
            if key[1] == "real":
                found = None if written is None else superiority(groups[written], values)
                shares: list[float | None] = (
                    [None] * 3 if found is None else [None if f is None else 100 * f for f in found]
                )
                shown.append(Row(sources[key[0]], [len(values), float(np.median(values)), *shares], "real"))
        sections.append(Section("" if written is None else f"Self-generated from {sources[written[0]]}", shown))
    if not groups:
        return []
    caption = (
        "Self-gen. higher: how often a self-generated sample scores higher than a real one, over all pairs (area under "
        "the ROC curve; 50 % means no difference). Intervals: DeLong, with samples taken as independent; sets of "
        "several seeds may share documents, which makes them somewhat too narrow."
    )
    return [Table("Min-K%++ of real and self-generated text", caption, "Text", columns, sections)]


def min_k_caption(scores: pl.DataFrame, sources: Mapping[str, str]) -> str:
    """What Figure 5 shows: how often self-generated samples score higher, with intervals.

    A single self-generated text is compared with every real one, several with the one of their source.
    """
    groups = score_groups(scores, sources)
    several = sum(origin == "synthetic" for _, origin in groups) > 1
    marks = "dotted lines are medians" if several else "marks below the curves are medians, hollow for real text"
    sentences = [f"Kernel densities (Scott's bandwidth); {marks}."]
    for (source, origin), own in groups.items():
        if origin != "synthetic":
            continue
        parts = []
        for (other, kind), values in groups.items():
            wanted = kind == "real" and (not several or other == source)
            found = superiority(own, values) if wanted else None
            if found is not None:
                parts.append(f"{sources[other]} in {_share(found)}")
        if parts:
            sentences.append(
                f"A sample that the model wrote from prefixes of {sources[source]} scores higher than a real one of "
                f"{'; of '.join(parts)}."
            )
    return " ".join(sentences)


def _share(found: tuple[float, float | None, float | None]) -> str:
    share, low, high = found
    if low is None or high is None:
        return f"{100 * share:.1f} % of the pairs (no interval: the scores do not vary, or do not overlap)"
    return f"{100 * share:.1f} % of the pairs (95 % interval {100 * low:.1f} to {100 * high:.1f})"
