"""The tables and figures of the paper, by the name that an experiment gives under `layout` (docs/layouts.md)."""

from collections.abc import Collection

from calibrant.errors import InputError
from calibrant.reporting.layouts import build
from calibrant.reporting.layouts.base import Inputs, Layout, Products

LAYOUTS: dict[str, Layout] = {
    "table1": build.table("table1", build.by_method),
    "table2": build.table("table2", build.pairs),
    "table3": build.table("table3", build.by_sparsity, "syn_source"),
    "table4": build.table("table4", build.filtering),
    "table5": build.table("table5", build.pairs),
    "table6": build.table("table6", build.by_measure, "syn_source"),
    "table7": build.table("table7", build.by_accuracy, "syn_source"),
    "figure1": Layout(build.figure1),
    "figure2": Layout(build.figure2, frozenset({"methods"})),
    "figure3": Layout(build.figure3),
    "figure4": Layout(build.figure4),
    "figure5": Layout(build.figure5, frozenset({"syn_source", "min_k"})),
    "figure6": build.source_figure("figure6", "wanda"),
    "figure7": build.source_figure("figure7", "dsnot"),
    "figure8": build.source_figure("figure8", "owl"),
    "similarity": Layout(build.similarity),
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


__all__ = ["LAYOUTS", "Inputs", "Layout", "Products", "named_layout"]
