"""Figures 6, 7 and 8: the sources at each target, for one method."""

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
from calibrant.reporting.results.cells import baseline_cell, baseline_words, kind_of, method_label, target_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import listed
from calibrant.reporting.results.study_results import StudyResults

COLUMNS = 3  # panels in a row, as in the paper


def sources_figure(data: StudyResults, method: str) -> Figure | None:
    """Figures 6, 7 and 8: a panel per target, a point per source, dashed the method without data; a block per outcome.

    Real text is filled; where self-generated text was run too, it stands beside it, hollow. None without any run.
    """
    targets = [s for s in data.targets if (s, method) in data.combinations()]
    measures = data.headline
    if not targets or not measures:
        return None
    columns = min(COLUMNS, len(targets))
    lines = math.ceil(len(targets) / columns)
    with style.context():
        size = (max(4.2, 0.5 + 2.45 * columns), len(measures) * (0.6 + 1.6 * lines))
        # Constrained, since only the last line of a block has names below its panels.
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(lines * len(measures), columns, squeeze=False)
        for block, measure in enumerate(measures):
            for number in range(lines * columns):
                axes = grid[block * lines + number // columns][number % columns]
                if number >= len(targets):
                    axes.set_visible(False)
                    continue
                _sources_panel(axes, data, method, targets[number], measure)
                letter = drawing.letter(block * len(targets) + number)
                axes.set_title(f"{letter} {target_label(targets[number])}")
                if number + columns < len(targets):
                    axes.set_xticklabels([])  # the panel below names them
                if number % columns == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        grey = drawing.Mark(style.MUTED, "o", "-")
        both = [drawing.handle(grey, "real"), drawing.handle(grey, "self-generated", hollow=True)]
        legend(figure, drawing.source_handles(data, both if len(data.origins) > 1 else []), 6)
    return figure


def _sources_panel(axes: Axes, data: StudyResults, method: str, target: str, measure: Measure) -> None:
    marks = drawing.marks_of(data)
    offset = 0.14 if len(data.origins) > 1 else 0.0
    shown: list[Estimate] = []
    for x, source in enumerate(data.sources):
        for origin in data.origins:
            found = cell_estimate(data, data.at(method, target, source, origin), measure)
            if found is not None:
                shift = -offset if origin == "real" else offset
                drawing.point(axes, x + shift, found, marks[source], hollow=origin != "real")
                shown.append(found)
    drawing.against_baseline(axes, data, target, measure, drawing.ends(shown))
    axes.set_xticks(range(len(data.sources)), [data.source_label(s) for s in data.sources])
    if len(data.sources) > 3 or max(len(data.source_label(s)) for s in data.sources) > 8:
        axes.tick_params(axis="x", rotation=25)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, len(data.sources) - 0.4)


def sources_caption(data: StudyResults, method: str) -> str:
    """What Figures 6, 7 and 8 show: the range at each target, and what the dashed line is."""
    plain = [baseline_cell(target) for target, m in data.combinations() if m == method]
    sentences = [
        f"{method_label(method)}. Means over seeds, bars one standard deviation; each panel has an axis of its own. "
        f"Dashed: {baseline_words(plain)}, which uses no data (a note at the edge where it lies outside the panel)."
    ]
    for measure in data.headline:
        parts = [
            f"{ranged(r, measure.unit_of_scores)} at {target_label(s)}"
            for s in data.targets
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
        f"Calibration sources under {method_label(method)}, by {kind_of(data.targets)}",
        sources_caption(data, method),
        f"Dot plot: a panel per {kind_of(data.targets)}, a point with a bar per source, "
        f"{baseline_words(data.cells)} as a dashed line.",
    )
