"""Figure 4: the length of the prefix from which the model writes, with the real text as a line."""

import math
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.frames import estimates_frame
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.decisions import Decisions, counted
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.setting_claims import SHORT, against_real, first_minus_second, split
from calibrant.reporting.inference.words import shown
from calibrant.reporting.results.cells import Cell, run_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults

MARKER = drawing.MARKERS[0]  # one for all sources, so that the legend holds: a panel has a single one


class Panel(NamedTuple):
    """What a panel of Figure 4 is about."""

    sparsity: str
    method: str
    source: str


def panels_of(data: StudyResults) -> list[Panel]:
    """The panels with self-generated text, mildest sparsity first; those that vary, where some do."""
    found = [
        Panel(sparsity, method, source)
        for sparsity, method in data.combinations(anywhere=True)
        for source in data.sources
        if written(data, Panel(sparsity, method, source))
    ]
    return [panel for panel in found if len(written(data, panel)) > 1] or found


def written(data: StudyResults, panel: Panel) -> dict[int, Cell]:
    """The cells of self-generated text by prefix length, shortest first."""
    cells = {
        p: data.at(panel.method, panel.sparsity, panel.source, "synthetic", prefix_length=p)
        for p in data.values_of("prefix_length")
    }
    return {p: cell for p, cell in cells.items() if data.has(cell)}


def place(prefix: float) -> float:
    """Where a prefix stands on the axis: powers of two one apart, and 0 one step before 1."""
    return -1.0 if prefix == 0 else math.log2(prefix)


def prefix_figure(data: StudyResults) -> Figure | None:
    """Draw it: a panel per outcome, method, sparsity and source; None without self-generated text."""
    columns, measures = panels_of(data), data.headline
    if not columns:
        return None
    marks = drawing.marks_of(data)
    lengths = max(len(written(data, panel)) for panel in columns)
    width = max(3.1, 0.9 + 0.3 * lengths)
    with style.context():
        figure = Figure(figsize=(max(4.8, 0.3 + width * len(columns)), 0.3 + 2.6 * len(measures)))
        grid = figure.subplots(len(measures), len(columns), squeeze=False)
        for row, measure in enumerate(measures):
            for column, panel in enumerate(columns):
                axes = grid[row][column]
                letter = drawing.letter(row * len(columns) + column)
                _draw_panel(axes, data, panel, measure, marks[panel.source])
                where = run_label(panel.method, panel.sparsity)
                axes.set_title(f"{letter} {data.source_label(panel.source)}, {where}")
                if column == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        handles: list[Any] = [
            Line2D([], [], color=style.INK, marker=MARKER, markersize=5, label="self-generated"),
            Line2D([], [], color=style.INK, linestyle=drawing.DASHES[1], linewidth=1.2, label="real text"),
            Patch(facecolor=style.INK, alpha=0.16, label="± one standard deviation over seeds"),
        ]
        drawing.legend(figure, handles)
        figure.tight_layout(w_pad=1.6, h_pad=1.4)
    return figure


def _draw_panel(axes: Axes, data: StudyResults, panel: Panel, measure: Measure, mark: drawing.Mark) -> None:
    solid = drawing.Mark(mark.colour, MARKER, "-")
    lengths = written(data, panel)
    points = [(place(p), e) for p, c in lengths.items() if (e := cell_estimate(data, c, measure)) is not None]
    # The step from no prefix to one token is no step of a log axis: no line joins them.
    for part in ([q for q in points if q[0] < 0], [q for q in points if q[0] >= 0]):
        if part:
            drawing.band(axes, [x for x, _ in part], [e for _, e in part], solid)
        if len(part) == 1 and part[0][1].sd is not None:
            drawing.point(axes, part[0][0], part[0][1], solid, size=5)
    limits = drawing.ends(e for _, e in points)
    real = cell_estimate(data, data.at(panel.method, panel.sparsity, panel.source, "real"), measure)
    if real is not None:
        axes.axhline(real.mean, color=mark.colour, linestyle=drawing.DASHES[1], linewidth=1.2, zorder=2)
        if real.sd is not None:
            axes.axhspan(real.mean - real.sd, real.mean + real.sd, color=mark.colour, alpha=0.09, linewidth=0, zorder=0)
        limits += drawing.ends([real])
    if limits:
        drawing.value_axis(axes, limits, log=measure.lower_is_better)
    places = [place(p) for p in lengths]
    axes.set_xticks(places, [f"{p:.0f}" for p in lengths])
    axes.set_xlim(min(places) - 0.5, max(places) + 0.5)
    if len(lengths) > 9:
        axes.tick_params(axis="x", labelsize=7.5)
    axes.set_xlabel("prefix length, tokens (log scale from 1)")


def prefix_caption(data: StudyResults, decisions: Decisions) -> str:
    """What Figure 4 shows: prefixes that beat real text, and short against long ones."""
    sentences = [
        "Lines are means over sets, shaded one standard deviation; dashed the real text of that source. Better and "
        "worse: Welch's t over sets, p < 0.05 after Holm's correction over the prefix lengths."
    ]
    for measure in data.headline:
        for panel in panels_of(data):
            sparsity, method, source = panel
            scope, models = Scope(data, measure), {(method, sparsity): 1.0}
            lines = {source: {float(p): cell.text for p, cell in written(data, panel).items()}}
            against = {p: against_real(scope, models, lines, p, f"prefix of {p:.0f}", sparsity) for p in lines[source]}
            parts = []
            if decided := decisions.family(against):
                better, worse, undecided = counted(decided.values())
                parts.append(
                    f"self-generated text is better than real text at {better} of {len(decided)} prefix lengths, "
                    f"worse at {worse}, undecided at {undecided}"
                )
            short, long = split(lines, SHORT)
            if short and long:
                contrast = first_minus_second(scope, models, lines, short, long, "short minus long prefixes")
                if contrast is not None:
                    side = {1: "better", -1: "worse", 0: "undecided"}[decisions.single(contrast).side]
                    ends = f"prefixes of {min(short):.0f} to {max(short):.0f} tokens minus longer ones"
                    parts.append(f"{ends}: {shown(contrast)}, {side}")
            if parts:
                place = f"{data.source_label(source)}, {run_label(method, sparsity)}, {measure.name}"
                sentences.append(f"{place}: {'; '.join(parts)}.")
    return " ".join(sentences)


def prefix_drawing(name: str, data: StudyResults, decisions: Decisions, *, there: bool = True) -> Drawing:
    """The figure with its data and words; nothing without self-generated text, or not `there`."""
    panels = panels_of(data) if there else []
    cells = [c for p in panels for c in (data.at(p.method, p.sparsity, p.source, "real"), *written(data, p).values())]
    return Drawing(
        name,
        prefix_figure(data) if panels else None,
        estimates_frame(data, data.headline, dict.fromkeys(cells)),
        "The length of the prefix that the model continues",
        prefix_caption(data, decisions) if panels else "",
        "Line of the outcome against the prefix length with a shaded standard deviation; the real text is dashed.",
    )
