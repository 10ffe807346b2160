"""Figure: which pruned positions the masks of different calibration text have in common."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.results.cells import ORIGINS
from calibrant.reporting.results.numbers import number

Text = tuple[str, str]  # source, origin
# Not the style's ink: that turns light on a dark page, and the cells do not.
ON_PALE, ON_DARK = "#000000", "#ffffff"


def overlap_drawing(overlaps: pl.DataFrame, labels: Mapping[str, str], what: str) -> Drawing:
    """The figure with its words; arguments as `layer_figure.layer_drawing`, `overlaps` of `read_overlaps`."""
    means = mean_overlaps(overlaps)
    return Drawing(
        "overlap",
        overlap_figure(means, labels) if means else None,
        overlaps,
        f"Pruned positions that masks share ({what})" if what else "Pruned positions that masks share",
        overlap_caption(overlaps),
        "Heat map of the Jaccard similarity of pruned positions, calibration texts against each other. The figure's "
        "data hold every pair of masks.",
    )


def overlap_caption(overlaps: pl.DataFrame) -> str:
    """How to read the figure."""
    seeds = "The diagonal compares seeds of one text, whose self-generated sets may share samples."
    words = [
        "Of the positions that either of two masks prunes, the share in per cent that both prune; "
        "means over pairs of masks.",
        seeds if any(a == b for a, b in mean_overlaps(overlaps)) else "",
        overlap_words(overlaps),
    ]
    return " ".join(text for text in words if text)


def mean_overlaps(overlaps: pl.DataFrame) -> dict[tuple[Text, Text], float]:
    """Mean Jaccard similarity of the pruned positions for each two texts, in both orders."""
    found: dict[tuple[Text, Text], list[float]] = {}
    for row in overlaps.iter_rows(named=True):
        a, b = (row["source_a"], row["origin_a"]), (row["source_b"], row["origin_b"])
        for pair in dict.fromkeys([(a, b), (b, a)]):
            found.setdefault(pair, []).append(row["jaccard_pruned"])
    return {pair: sum(values) / len(values) for pair, values in found.items()}


def overlap_words(overlaps: pl.DataFrame) -> str:
    """What two masks share when they differ in the seed alone, in the source, in the origin; and by chance."""
    same_source, same_origin = pl.col("source_a") == pl.col("source_b"), pl.col("origin_a") == pl.col("origin_b")
    kinds = {
        "two seeds of one text": same_source & same_origin,
        "two sources' real text": ~same_source & same_origin & (pl.col("origin_a") == "real"),
        "two sources' self-generated text": ~same_source & same_origin & (pl.col("origin_a") == "synthetic"),
        "a source's real and self-generated text": same_source & ~same_origin,
    }
    means = {words: overlaps.filter(chosen)["jaccard_pruned"].mean() for words, chosen in kinds.items()}
    parts = [f"{words} {number(100 * m, 1)} %" for words, m in means.items() if isinstance(m, float)]
    chance = overlaps["jaccard_pruned_by_chance"].mean()
    if isinstance(chance, float):
        parts.append(f"independent masks {number(100 * chance, 1)} %")
    return f"Means: {', '.join(parts)}." if parts else ""


def overlap_figure(means: Mapping[tuple[Text, Text], float], labels: Mapping[str, str]) -> Figure:
    """Draw the matrix of texts against texts, all real ones before the self-generated."""
    there = {text for pair in means for text in pair}
    texts = [(source, origin) for origin in ORIGINS for source in labels if (source, origin) in there]
    values = np.array([[100 * means.get((a, b), np.nan) for b in texts] for a in texts])
    names = [f"{labels[source]}, {ORIGINS[origin]}" for source, origin in texts]
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scale = Normalize(low, high if high > low else low + 1)
    colours = LinearSegmentedColormap.from_list("overlap", ["#eaf2f8", style.PALETTE[0]])
    with style.context():
        size = 0.52 * len(texts)
        figure = Figure(figsize=(2.4 + size, 1.0 + 0.66 * size))
        axes = figure.subplots()
        axes.pcolormesh(np.ma.masked_invalid(values), cmap=colours, norm=scale, edgecolor="white", linewidth=1)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = ON_DARK if scale(value) > 0.75 else ON_PALE
                axes.text(column + 0.5, row + 0.5, number(value, 1), ha="center", va="center", size=8, color=ink)
        centres = np.arange(len(texts)) + 0.5
        axes.set_yticks(centres, names)
        axes.set_xticks(centres, names, rotation=35, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0, labelcolor=style.INK)
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        figure.tight_layout()
    return figure
