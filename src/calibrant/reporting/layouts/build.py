"""From a target's inputs to its products: each table and figure of the paper with its names, titles and words."""

from collections.abc import Callable, Sequence

import polars as pl
from matplotlib.figure import Figure

from calibrant.errors import InputError
from calibrant.reporting.comparison import Comparison, method_label
from calibrant.reporting.figures import Drawing
from calibrant.reporting.index import default_label
from calibrant.reporting.layouts import (
    amount,
    corpora,
    filter_rates,
    found_items,
    methods_figure,
    min_k,
    prefix,
    sources,
    sparsity_figures,
)
from calibrant.reporting.layouts import pairs as real_and_written
from calibrant.reporting.layouts.base import Inputs, Layout, Products
from calibrant.reporting.layouts.slices import slices
from calibrant.reporting.published import numbers
from calibrant.reporting.published.tables import canonical
from calibrant.reporting.table import Table

Tables = Callable[[Inputs], Sequence[Table]]


def table(name: str, tables: Tables, *parameters: str) -> Layout:
    """A layout of tables alone, in files of that name."""
    return Layout(lambda inputs: Products({name: tables(inputs)}), frozenset(parameters))


def by_method(inputs: Inputs) -> list[Table]:
    """Table 1."""
    return sources.by_method(_comparison(inputs), inputs.published)


def pairs(inputs: Inputs) -> list[Table]:
    """Tables 2 and 5."""
    return real_and_written.pairs_tables(_comparison(inputs), inputs.published)


def by_sparsity(inputs: Inputs) -> list[Table]:
    """Table 3."""
    return sources.by_sparsity(_comparison(inputs), inputs.published)


def filtering(inputs: Inputs) -> list[Table]:
    """Table 4."""
    return filter_rates.filter_table(inputs.frame, inputs.study)


def by_measure(inputs: Inputs) -> list[Table]:
    """Table 6."""
    return sources.by_measure(_comparison(inputs), inputs.published)


def by_accuracy(inputs: Inputs) -> list[Table]:
    """Table 7: as Table 6, without perplexities."""
    return sources.by_measure(_comparison(inputs), inputs.published, perplexity=False)


def figure1(inputs: Inputs) -> Products:
    """Methods against calibration data, with the ranges as a table."""
    data = _comparison(inputs)
    drawn = _drawing(
        "figure1",
        methods_figure.methods_figure(data),
        sparsity_figures.estimates_data(data, data.methods),
        "Pruning methods and calibration text",
        methods_figure.methods_caption(data),
        "Dot plot: a group of points per method, a point per source, a panel per sparsity and outcome.",
    )
    return Products({"figure1": methods_figure.effects_table(data)}, [drawn])


def figure2(inputs: Inputs) -> Products:
    """The range over sources against sparsity."""
    data = _comparison(inputs)
    methods = _methods(inputs, data)
    drawn = _drawing(
        "figure2",
        sparsity_figures.range_figure(data, methods),
        sparsity_figures.range_data(data, methods),
        "What the choice of source moves, by sparsity",
        sparsity_figures.range_caption(data, methods),
        "Line of the range of the sources' means against the share of pruned weights, and points for the types of "
        "sparsity at one half, each with its interval.",
    )
    return Products(figures=[drawn])


def source_figure(name: str, method: str) -> Layout:
    """Figures 6, 7 and 8: the sources at each sparsity, for one method (parameter `method`)."""

    def build(inputs: Inputs) -> Products:
        data, shown = _comparison(inputs), str(inputs.parameters.get("method", method))
        drawn = _drawing(
            name,
            sparsity_figures.sources_figure(data, shown),
            sparsity_figures.estimates_data(data, [shown]),
            f"Calibration sources under {method_label(shown)}, by sparsity",
            sparsity_figures.sources_caption(data, shown),
            "Dot plot: a panel per sparsity, a point with a bar per source, magnitude pruning as a dashed line.",
        )
        return Products(figures=[drawn])

    return Layout(build, frozenset({"method"}))


def figure3(inputs: Inputs) -> Products:
    """The number of calibration samples."""
    return Products(figures=[amount.amount_drawing("figure3", slices(inputs.frame, inputs.study, "samples"))])


def figure4(inputs: Inputs) -> Products:
    """The length of the prefix."""
    return Products(figures=[prefix.prefix_drawing("figure4", slices(inputs.frame, inputs.study, "prefix_length"))])


def figure5(inputs: Inputs) -> Products:
    """Min-K%++ of real and self-generated text, with medians as a table."""
    scores, labels = _one_written(inputs, inputs.scores), _labels(inputs, inputs.scores)
    share = f"{inputs.parameters['min_k']:.4g}" if "min_k" in inputs.parameters else "K"
    drawn = _drawing(
        "figure5",
        min_k.min_k_figure(scores, labels, share),
        min_k.min_k_data(scores, labels),
        "Min-K%++ of real and self-generated text",
        min_k.min_k_caption(scores, labels),
        "Densities of the scores: dashed for the real text of each source, solid and filled for self-generated text.",
    )
    return Products({"figure5": min_k.min_k_table(scores, labels)}, [drawn])


def similarity(inputs: Inputs) -> Products:
    """Similarities of the sources to each other and, where it is one of the corpora, to the training data."""
    frame, labels = inputs.similarity, inputs.labels
    drawn = _drawing(
        "similarity",
        corpora.similarity_figure(frame, labels),
        frame,
        "Similarity of the sources",
        corpora.similarity_caption(frame, labels) if len(frame) else "",
        "Heat map of Jaccard similarities, a row per reference and a column per corpus; the table holds the numbers.",
    )
    tables = corpora.similarity_table(frame, labels, _published_similarity(inputs.study.model_id))
    items = found_items.contamination_table(inputs.contamination, labels)
    return Products({"similarity": tables, "contamination": items}, [drawn])


def _published_similarity(model_id: str) -> dict[tuple[str, str], float]:
    """The paper's similarities to the training data of DCLM-7B (section 3.4), for that model alone."""
    found = numbers().filter(pl.col("unit") == "Jaccard", pl.col("model") == canonical(model_id))
    return {("dclm", name.removeprefix("jaccard_")): low for name, low in found.select("id", "low").iter_rows()}


def _drawing(
    name: str, figure: Figure | None, data: pl.DataFrame, title: str, caption: str, description: str
) -> Drawing:
    draw = None if figure is None else (lambda: figure)
    return Drawing(name, draw, data, title, caption, f"{description} {caption}".strip())


def _comparison(inputs: Inputs) -> Comparison:
    return Comparison(_one_written(inputs, inputs.frame), inputs.study)


def _one_written(inputs: Inputs, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows without self-generated text of other sources than `syn_source`, where the experiment names one.

    Raises:
        InputError: no row is self-generated text of that source, though others are.
    """
    source = inputs.parameters.get("syn_source")
    written = pl.col("origin").eq_missing(pl.lit("synthetic"))
    if source is None or frame.filter(written).is_empty():
        return frame
    if frame.filter(written & (pl.col("source") == source)).is_empty():
        known = sorted(set(frame.filter(written)["source"]))
        raise InputError(f"layout.parameters.syn_source is {source}; self-generated text comes of {', '.join(known)}")
    return frame.filter(~written | (pl.col("source") == source))


def _labels(inputs: Inputs, frame: pl.DataFrame) -> dict[str, str]:
    """Labels of the study's sources in the order of the report, then of those that only the frame has."""
    named = list(dict.fromkeys(frame["source"].drop_nulls()))
    return inputs.labels | {name: default_label(name) for name in named if name not in inputs.labels}


def _methods(inputs: Inputs, data: Comparison) -> list[str]:
    """The methods that the experiment names, in its order, all by default.

    Raises:
        InputError: one of them was not run.
    """
    named = [str(m) for m in inputs.parameters.get("methods", data.methods)]
    for method in named:
        if method not in data.methods:
            raise InputError(f"layout.parameters.methods has {method}; the runs have {', '.join(data.methods)}")
    return named
