"""Figure: reconstruction error by decoder layer and source, on calibration text and on text held out from it."""

import math
from collections.abc import Mapping, Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.panel_grid import legend
from calibrant.reporting.results.cells import ORIGINS
from calibrant.reporting.results.numbers import number

WORDS = {origin: f"{word} text" for origin, word in ORIGINS.items()}


def layer_drawing(layers: pl.DataFrame, labels: Mapping[str, str], what: str) -> Drawing:
    """The figure with its words.

    Args:
        layers: frame of `inspections.read_layers`.
        labels: sources in the order of the report, with their labels.
        what: the masks in words, `Wanda at 60 %`.
    """
    return Drawing(
        "layers",
        layer_figure(layers, labels) if len(layers) else None,
        layers,
        f"What pruning does to each decoder layer ({what})" if what else "What pruning does to each decoder layer",
        layer_caption(layers, labels),
        "Line plots for each source: relative reconstruction error of every decoder layer, for masks made on real and "
        "on self-generated text, and the ratio of held-out to calibration error. The figure's data hold the numbers.",
    )


def layer_caption(layers: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """How to read the figure."""
    error = (
        "how far a pruned layer's output is from the dense layer's on the same input, relative to what the layer adds"
    )
    if layers["ratio"].count() == 0:
        words = [f"On the calibration text: {error}.", heldout_words(layers, labels)]
    else:
        words = [
            f"Left: {error}; lines on the calibration text, dots on text held out from it. Right: held-out over "
            "calibration error; shades span single pairs of sequences. A ratio above 1 is overfitting to the "
            "calibration text, as far as it stands out from the shade: texts differ in difficulty.",
            heldout_words(layers, labels),
            ratio_words(layers),
        ]
    return " ".join(text for text in words if text)


def heldout_words(layers: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """Which text was held out, in a sentence or two."""
    texts = layers.unique(["source", "origin"], maintain_order=True)
    same = texts.filter(pl.col("heldout_source") == pl.col("source"))
    other = texts.filter(pl.col("heldout_source") != pl.col("source"))
    words = []
    if len(same):
        words.append("Held out is the same text drawn with another seed, without what both draws share.")
    if len(other):
        pairs = [(row["source"], row["heldout_source"]) for row in other.iter_rows(named=True)]
        named = dict.fromkeys(f"{_label(there, labels)} for {_label(here, labels)}" for here, there in pairs)
        words.append(f"Held out is another source's text: {', '.join(named)}.")
    if len(same) + len(other) < len(texts):
        words.append("Where the study has no other such text, nothing is held out.")
    missing = texts.filter((pl.col("sequences_heldout") == 0) & pl.col("heldout_source").is_not_null())
    if len(missing):
        named = dict.fromkeys(
            f"{_label(row['source'], labels)}, {WORDS[row['origin']]}" for row in missing.iter_rows(named=True)
        )
        words.append(f"Nothing was left to hold out for {'; '.join(named)}.")
    return " ".join(words)


def ratio_words(layers: pl.DataFrame) -> str:
    """`Mean ratio: real text 1.012, self-generated text 0.998.`, geometric over layers and sources; empty without."""
    found = {origin: mean_ratio(layers.filter(pl.col("origin") == origin)) for origin in WORDS}
    parts = [f"{WORDS[origin]} {number(mean, 3)}" for origin, mean in found.items() if mean is not None]
    return f"Geometric mean ratio over layers and sources: {', '.join(parts)}." if parts else ""


def mean_ratio(layers: pl.DataFrame) -> float | None:
    """The geometric mean of the ratios; None without any."""
    ratios = [ratio for ratio in layers["ratio"].drop_nulls() if ratio > 0]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def layer_figure(layers: pl.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Draw a row of two panels per source: errors by layer, and the ratio of held-out to calibration error."""
    shown = [source for source in labels if source in set(layers["source"])]
    colours = style.colours(list(labels))
    with_ratio = layers["ratio"].count() > 0
    with style.context():
        figure = Figure(figsize=(7.8 if with_ratio else 4.4, 0.6 + 1.45 * len(shown)))
        grid = figure.subplots(len(shown), 2 if with_ratio else 1, squeeze=False, sharex=True, sharey="col")
        for panels, source in zip(grid, shown, strict=True):
            of_source = layers.filter(pl.col("source") == source)
            _errors(panels[0], of_source, colours[source])
            panels[0].set_title(labels[source])
            if with_ratio:
                _ratios(panels[1], of_source, colours[source])
        grid[0][0].set_ylim(0, 1.06 * _largest(layers, ["error_calibration", "error_heldout"]))
        if with_ratio:
            grid[0][1].set_ylim(*_limits(layers["ratio"].drop_nulls().to_list()))
        for axes in grid[-1]:
            axes.set_xlabel("decoder layer")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        for column, text in enumerate(["relative error", "held-out ÷ calibration"][: len(grid[0])]):
            grid[len(shown) // 2][column].set_ylabel(text)
        legend(figure, _handles(with_ratio), pads=(0.8, 2.0))
        figure.tight_layout(w_pad=2.2, h_pad=1.0)
    return figure


def _errors(axes: Axes, of_source: pl.DataFrame, colour: str) -> None:
    for origin, ink, dashes in _looks(colour):
        rows = of_source.filter(pl.col("origin") == origin)
        axes.plot(rows["layer"], rows["error_calibration"], color=ink, linestyle=dashes, linewidth=1.3, zorder=3)
        there = rows.drop_nulls("error_heldout")
        axes.plot(there["layer"], there["error_heldout"], ".", color=ink, markersize=3.5, markeredgewidth=0, zorder=4)
    axes.grid(axis="y")


def _ratios(axes: Axes, of_source: pl.DataFrame, colour: str) -> None:
    axes.axhline(1, color=style.MUTED, linewidth=0.9, zorder=1)
    for origin, ink, dashes in _looks(colour):
        rows = of_source.filter(pl.col("origin") == origin).drop_nulls("ratio")
        if not len(rows):
            continue
        axes.fill_between(rows["layer"], rows["ratio_low"], rows["ratio_high"], color=ink, alpha=0.16, linewidth=0)
        axes.plot(rows["layer"], rows["ratio"], color=ink, linestyle=dashes, linewidth=1.3, zorder=3)
    axes.grid(axis="y")


def _looks(colour: str) -> Sequence[tuple[str, str, str | tuple[int, tuple[float, ...]]]]:
    """Origin, colour and dashes, as in the figures of distributions."""
    return (("real", style.MUTED, (0, (4, 1.6))), ("synthetic", colour, "-"))


def _handles(with_heldout: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=style.MUTED, linestyle=(0, (4, 1.6)), linewidth=1.3, label="masks from real text"),
        Line2D([], [], color=style.INK, linewidth=1.3, label="from self-generated text"),
    ]
    held = Line2D([], [], color=style.INK, marker=".", markersize=5, linestyle="none", label="on held-out text")
    return [*handles, held] if with_heldout else handles


def _largest(layers: pl.DataFrame, columns: Sequence[str]) -> float:
    return max(float(v) for column in columns for v in layers[column].drop_nulls()) or 1.0


def _limits(ratios: Sequence[float]) -> tuple[float, float]:
    """An axis with 1 in the middle and room for every line; a shade may leave it."""
    reach = 1.3 * max(max(abs(ratio - 1) for ratio in ratios), 0.01)
    return 1 - min(reach, 1.0), 1 + reach


def _label(source: str | None, labels: Mapping[str, str]) -> str:
    return labels.get(str(source), str(source))
