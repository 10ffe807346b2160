"""A figure as data: the drawing, its numbers and its words; and the files that are made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from calibrant.reporting.figures import style
from calibrant.reporting.results.result_frame import write_csv, write_parquet


@dataclass(frozen=True)
class Drawing:
    """A figure, its data, and its words.

    Attributes:
        name: of its files, and of its element on the page.
        figure: the drawing; None when the study has nothing to draw.
        data: the numbers that it shows.
        title, caption: what it is, and what to see.
        description: the same for readers who do not see it.
    """

    name: str
    figure: Figure | None
    data: pl.DataFrame
    title: str
    caption: str
    description: str


@dataclass(frozen=True)
class Plot:
    """A figure on the page: an SVG element, and words for those who see it and those who do not."""

    svg: str
    title: str
    caption: str
    description: str


def write_figures(folder: Path, drawn: Sequence[Drawing]) -> dict[str, Plot]:
    """Write NAME.{svg,png,csv,parquet} of each drawing; those that have something to draw come back for the page."""
    plots = {}
    for drawing in drawn:
        figure = drawing.figure or style.empty("The study has nothing for this figure.")
        for suffix in (".svg", ".png"):
            style.save(figure, folder / f"{drawing.name}{suffix}")
        write_parquet(folder / f"{drawing.name}.parquet", drawing.data, {"figure": drawing.title})
        write_csv(folder / f"{drawing.name}.csv", drawing.data)
        if drawing.figure:
            svg = (folder / f"{drawing.name}.svg").read_text(encoding="utf-8")
            description = f"{drawing.description} {drawing.caption}".strip()
            element = style.inline(svg, drawing.name, drawing.title, description)
            plots[drawing.name] = Plot(element, drawing.title, drawing.caption, drawing.description)
    return plots
