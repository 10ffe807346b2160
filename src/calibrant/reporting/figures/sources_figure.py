"""Figures 6, 7 and 8: the sources at each sparsity, for one method."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.frames import estimates_frame
from calibrant.reporting.figures.panel_grid import legend
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.effects import source_range
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.inference.words import ranged
from calibrant.reporting.results.cells import method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import listed
from calibrant.reporting.results.study_results import StudyResults

COLUMNS = 3  # panels in a row, as in the paper


def sources_figure(data: StudyResults, method: str) -> Figure | None:
    """Figures 6, 7 and 8: a panel per sparsity, a point per source, the dashed line magnitude; a block per outcome.

    Real text is filled; where self-generated text was run too, it stands beside it, hollow. None without any run.
    """
    sparsities = [s for s in data.sparsities if (s, method) in data.combinations()]
    measures = data.headline
    if not sparsities or not measures:
        return None
    columns = min(COLUMNS, len(sparsities))
    lines = math.ceil(len(sparsities) / columns)
    with style.context():
        size = (max(4.2, 0.5 + 2.45 * columns), len(measures) * (0.6 + 1.6 * lines))
        # Constrained, since only the last line of a block has names below its panels.
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(lines * len(measures), columns, squeeze=False)
        for block, measure in enumerate(measures):
            for number in range(lines * columns):
                axes = grid[block * lines + number // columns][number % columns]
                if number >= len(sparsities):
                    axes.set_visible(False)
                    continue
                _sources_panel(axes, data, method, sparsities[number], measure)
                letter = drawing.letter(block * len(sparsities) + number)
                axes.set_title(f"{letter} {sparsity_label(sparsities[number])}")
                if number + columns < len(sparsities):
                    axes.set_xticklabels([])  # the panel below names them
                if number % columns == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        grey = drawing.Mark(style.MUTED, "o", "-")
        both = [drawing.handle(grey, "real"), drawing.handle(grey, "self-generated", hollow=True)]
        legend(figure, drawing.source_handles(data, both if len(data.origins) > 1 else []), 6)
    return figure


def _sources_panel(axes: Axes, data: StudyResults, method: str, sparsity: str, measure: Measure) -> None:
    marks = drawing.marks_of(data)
    offset = 0.14 if len(data.origins) > 1 else 0.0
    shown: list[Estimate] = []
    for x, source in enumerate(data.sources):
        for origin in data.origins:
            found = cell_estimate(data, data.at(method, sparsity, source, origin), measure)
            if found is not None:
                shift = -offset if origin == "real" else offset
                drawing.point(axes, x + shift, found, marks[source], hollow=origin != "real")
                shown.append(found)
    drawing.against_magnitude(axes, data, sparsity, measure, drawing.ends(shown))
    axes.set_xticks(range(len(data.sources)), [data.source_label(s) for s in data.sources])
    if len(data.sources) > 3 or max(len(data.source_label(s)) for s in data.sources) > 8:
        axes.tick_params(axis="x", rotation=25)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, len(data.sources) - 0.4)


def sources_caption(data: StudyResults, method: str) -> str:
    """What Figures 6, 7 and 8 show: the range at each sparsity, and sources that fall behind magnitude."""
    sentences = [
        f"{method_label(method)}. Means over seeds, bars one standard deviation; each panel has an axis of its own. "
        "Dashed: magnitude pruning, which uses no data (a note at the edge where it lies outside the panel)."
    ]
    for measure in data.headline:
        parts = [
            f"{ranged(r, measure.unit_of_scores)} at {sparsity_label(s)}"
            for s in data.sparsities
            if (r := source_range(data, method, s, measure)) is not None
        ]
        if parts:
            sentences.append(f"In {measure.name} the best and the worst source differ by {listed(parts)}.")
    return " ".join(sentences)


def sources_drawing(name: str, data: StudyResults, method: str) -> Drawing:
    """The figure with its data and words."""
    cells = [cell for cell in data.main_cells if cell.method == method or cell.source is None]
    return Drawing(
        name,
        sources_figure(data, method),
        estimates_frame(data, data.headline, cells),
        f"Calibration sources under {method_label(method)}, by sparsity",
        sources_caption(data, method),
        "Dot plot: a panel per sparsity, a point with a bar per source, magnitude pruning as a dashed line.",
    )
