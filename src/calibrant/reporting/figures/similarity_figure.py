"""Section 3.4's similarities as a heat map."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.inference.similarity_order import DECIMALS, corpora, corpus_label, order_sentence


def similarity_figure(frame: pl.DataFrame, labels: Mapping[str, str]) -> Figure | None:
    """A heat map, a row per reference and a column per corpus; cells carry the value and its standard error.

    A pair that was compared in one direction only fills both cells, since the measure is symmetric. None for an
    empty frame.
    """
    if frame.is_empty():
        return None
    names = corpora(frame, labels)
    values, errors = matrix(frame, names)
    rows = [i for i, name in enumerate(names) if name in set(frame["reference"])]
    columns = [i for i in range(len(names)) if any(np.isfinite(values[r, i]) for r in rows)]
    shown = values[np.ix_(rows, columns)]
    top = float(np.nanmax(shown)) or 1.0
    with style.context():
        figure = Figure(figsize=(1.9 + 1.05 * len(columns), 0.9 + 0.55 * len(rows)))
        axes = figure.subplots()
        # From paper to the palette's blue by lightness alone: the order survives grey print.
        image = axes.imshow(np.ma.masked_invalid(shown), cmap="Blues", vmin=0, vmax=1.15 * top, aspect="auto")
        for y, r in enumerate(rows):
            for x, c in enumerate(columns):
                if not np.isfinite(values[r, c]):
                    axes.text(x, y, "–", ha="center", va="center", color=style.MUTED)
                    continue
                dark = values[r, c] > 0.62 * 1.15 * top
                axes.text(
                    x,
                    y,
                    f"{values[r, c]:.{DECIMALS}f}\n± {errors[r, c]:.{DECIMALS}f}",
                    ha="center",
                    va="center",
                    size=8,
                    color=style.PAPER if dark else style.INK,
                )
        axes.set_xticks(range(len(columns)), [corpus_label(names[c], labels) for c in columns])
        axes.set_yticks(range(len(rows)), [corpus_label(names[r], labels) for r in rows])
        if len(columns) > 3:
            axes.tick_params(axis="x", rotation=20)
        axes.set_ylabel("reference")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
        bar.set_label("Jaccard similarity")
        bar.outline.set_visible(False)
        figure.tight_layout()
    return figure


def matrix(frame: pl.DataFrame, names: Sequence[str]) -> tuple[Any, Any]:
    """Similarities and standard errors [names, names]; NaN where a pair was not compared."""
    values = np.full((len(names), len(names)), np.nan)
    errors = values.copy()
    for row in frame.iter_rows(named=True):
        a, b = names.index(row["reference"]), names.index(row["source"])
        for i, j in ((a, b), (b, a)):
            if (i, j) == (a, b) or not np.isfinite(values[i, j]):
                values[i, j], errors[i, j] = row["jaccard"], row["stderr"]
    return values, errors


def similarity_caption(frame: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """What the heat map shows."""
    return (
        "Jaccard similarity of two corpora with the standard error of its estimate below it; darker is more similar, a "
        f"dash was not compared. {order_sentence(frame, labels)}"
    ).strip()


def similarity_drawing(name: str, frame: pl.DataFrame, labels: Mapping[str, str]) -> Drawing:
    """The figure with its data and words."""
    return Drawing(
        name,
        similarity_figure(frame, labels),
        frame,
        "Similarity of the sources",
        similarity_caption(frame, labels) if len(frame) else "",
        "Heat map of Jaccard similarities, a row per reference and a column per corpus; the table holds the numbers.",
    )
