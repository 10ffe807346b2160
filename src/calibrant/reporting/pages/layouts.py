"""The tables and figures of the paper, by the name that an experiment gives under `layout` (docs/layouts.md)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from calibrant.errors import InputError
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.methods_figure import methods_drawing
from calibrant.reporting.figures.min_k_figure import min_k_drawing
from calibrant.reporting.figures.range_figure import range_drawing
from calibrant.reporting.figures.setting_figure import amount_drawing, prefix_drawing
from calibrant.reporting.figures.similarity_figure import similarity_drawing
from calibrant.reporting.figures.sources_figure import sources_drawing
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.results.published.published_tables import published_similarity
from calibrant.reporting.tables.effects_table import effects_table
from calibrant.reporting.tables.filter_table import filter_table
from calibrant.reporting.tables.found_items import contamination_table
from calibrant.reporting.tables.min_k_table import min_k_table
from calibrant.reporting.tables.pair_tables import pairs_tables
from calibrant.reporting.tables.similarity_table import similarity_table
from calibrant.reporting.tables.source_tables import by_measure, by_method, by_target
from calibrant.reporting.tables.table import Table


@dataclass(frozen=True)
class Products:
    """What a layout makes: tables by the name of their files (several may share a file), and figures."""

    tables: Mapping[str, Sequence[Table]] = field(default_factory=dict)
    figures: Sequence[Drawing] = ()


@dataclass(frozen=True)
class Layout:
    """A table or figure of the paper.

    Attributes:
        build: makes it; never reads or writes files.
        parameters: the names that `layout.parameters` may have.
    """

    build: Callable[[Inputs], Products]
    parameters: frozenset[str] = frozenset()


def _table(name: str, tables: Callable[[Inputs], Sequence[Table]], *parameters: str) -> Layout:
    """A layout of tables alone, in files of that name."""
    return Layout(lambda inputs: Products({name: tables(inputs)}), frozenset(parameters))


def _figure(draw: Callable[[Inputs], Drawing], *parameters: str) -> Layout:
    """A layout of one figure."""
    return Layout(lambda inputs: Products(figures=[draw(inputs)]), frozenset(parameters))


def _by_source(name: str, method: str) -> Layout:
    """Figures 6, 7 and 8: the sources at each target, for one method (parameter `method`)."""
    return _figure(lambda i: sources_drawing(name, i.data, str(i.parameters.get("method", method))), "method")


def _methods(inputs: Inputs) -> list[str]:
    """The methods that the experiment names, in its order, all by default.

    Raises:
        InputError: one of them was not run.
    """
    named = [str(m) for m in inputs.parameters.get("methods", inputs.data.methods)]
    for method in named:
        if method not in inputs.data.methods:
            raise InputError(f"layout.parameters.methods has {method}; the runs have {', '.join(inputs.data.methods)}")
    return named


def _figure1(inputs: Inputs) -> Products:
    return Products(
        {"figure1": effects_table(inputs.data, inputs.decisions)},
        [methods_drawing("figure1", inputs.data, inputs.decisions)],
    )


def _figure5(inputs: Inputs) -> Products:
    scores, labels = inputs.one_written(inputs.scores), inputs.labels(inputs.scores)
    percent = f"{inputs.parameters['min_k']:.4g}" if "min_k" in inputs.parameters else "K"
    return Products({"figure5": min_k_table(scores, labels)}, [min_k_drawing("figure5", scores, labels, percent)])


def _similarity(inputs: Inputs) -> Products:
    frame, labels = inputs.similarity, inputs.labels()
    tables = similarity_table(frame, labels, published_similarity(inputs.study.model_id))
    items = contamination_table(inputs.contamination, labels)
    return Products({"similarity": tables, "contamination": items}, [similarity_drawing("similarity", frame, labels)])


LAYOUTS: dict[str, Layout] = {
    "table1": _table("table1", lambda i: by_method(i.data, i.decisions, i.published)),
    "table2": _table("table2", lambda i: pairs_tables(i.data, i.decisions, i.published)),
    "table3": _table("table3", lambda i: by_target(i.data, i.decisions, i.published), "syn_source"),
    "table4": _table("table4", lambda i: filter_table(i.data, i.decisions)),
    "table5": _table("table5", lambda i: pairs_tables(i.data, i.decisions, i.published)),
    "table6": _table("table6", lambda i: by_measure(i.data, i.decisions, i.published), "syn_source"),
    "table7": _table("table7", lambda i: by_measure(i.data, i.decisions, i.published, perplexity=False), "syn_source"),
    "figure1": Layout(_figure1),
    "figure2": _figure(lambda i: range_drawing("figure2", i.data, _methods(i)), "methods"),
    "figure3": _figure(lambda i: amount_drawing("figure3", i.data, i.decisions)),
    "figure4": _figure(lambda i: prefix_drawing("figure4", i.data, i.decisions)),
    "figure5": Layout(_figure5, frozenset({"syn_source", "min_k"})),
    "figure6": _by_source("figure6", "wanda"),
    "figure7": _by_source("figure7", "dsnot"),
    "figure8": _by_source("figure8", "owl"),
    "similarity": Layout(_similarity),
}


def named_layout(name: str, parameters: Collection[str]) -> Layout:
    """The layout of a name.

    Raises:
        InputError: there is none of that name, or it does not take one of the parameters.
    """
    if name not in LAYOUTS:
        raise InputError(f"layout.name is {name!r}; there are {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    for parameter in parameters:
        if parameter not in layout.parameters:
            allowed = ", ".join(sorted(layout.parameters)) or "none"
            raise InputError(f"layout.parameters: {name} takes no {parameter}; it takes {allowed}")
    return layout
