"""Figures 3 and 4: the outcomes by number of samples, and by length of the prefix from which the model writes."""

import itertools
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.frames import estimates_frame
from calibrant.reporting.figures.panel_grid import measure_grid
from calibrant.reporting.figures.setting_panels import Panel, estimates_of, panels_of
from calibrant.reporting.inference.amount_claims import deviation_contrast, trend
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.decisions import Decisions, counted
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.setting_claims import SHORT, against_real, first_minus_second, split
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.inference.words import shown
from calibrant.reporting.results.cells import run_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults

MARKER = drawing.MARKERS[0]  # one for all sources, so that the legend holds: a panel of prefixes has a single one


# Figure 3: the number of samples.


def amount_panels(data: StudyResults) -> list[Panel]:
    """A panel per target, method and origin, a line per source."""
    return panels_of(data, "samples", [(origin, data.sources) for origin in data.origins])


def amount_figure(data: StudyResults) -> Figure | None:
    """Draw it: means over seeds, one standard deviation shaded, the number of samples on a log axis.

    None where no run has a number of samples.
    """
    panels, measures = amount_panels(data), data.headline
    if not panels:
        return None
    marks = drawing.marks_of(data)

    def draw(axes: Axes, measure: Measure, panel: Panel) -> str:
        limits: list[float] = []
        for source, line in panel.lines.items():
            points = estimates_of(data, measure, line)
            if points:
                drawing.band(axes, [n for n, _ in points], [e for _, e in points], marks[source])
                if len(points) == 1:  # no line and no shade
                    drawing.point(axes, *points[0], marks[source])
                limits += drawing.ends(e for _, e in points)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(panel.values))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
        drawing.value_axis(axes, limits, log=measure.lower_is_better)
        axes.set_xlabel("calibration samples, log scale")
        return run_label(panel.method, panel.target) + (", self-generated" if panel.origin == "synthetic" else "")

    size = max(4.4, 0.3 + 3.5 * len(panels)), 0.3 + 2.6 * len(measures)
    handles = [drawing.handle(marks[s], data.source_label(s), line=True) for s in data.sources]
    return measure_grid(measures, panels, size, draw, handles)


def amount_caption(data: StudyResults, decisions: Decisions) -> str:
    """What Figure 3 shows: the trend of the score and that of the deviation, by the contrasts of the conclusions."""
    sentences = ["Lines are means over sets, shades and bars one standard deviation. Positive changes are better."]
    for panel in amount_panels(data):
        lines = {source: line for source, line in panel.texts.items() if len(line) > 1}
        for measure in data.headline if lines else []:
            scope = Scope(data, measure)
            change = trend(scope, panel.models, lines, panel.target)
            spread = deviation_contrast(scope, panel.models, lines, panel.target)
            few, many = (f(n for each in lines.values() for n in each) for f in (min, max))
            over = f"the mean over {len(lines)} sources" if len(lines) > 1 else "the mean"
            parts = []
            if change is not None:
                words = {1: "better", -1: "worse", 0: "not told from no change"}[decisions.single(change).side]
                parts.append(f"from {few} to {many} samples {over} changes by {shown(change)}, {words}")
            if spread is not None:
                words = {1: "smaller", -1: "larger", 0: "not told from 1"}[decisions.single(spread).side]
                factor = f"{math.exp(-spread.estimate.mean):.2f} ({_factors(spread.estimate)})"
                parts.append(f"the deviation between sets is multiplied by {factor}, {words}")
            if parts:
                written = " on self-generated text" if panel.origin == "synthetic" else ""
                place = f"{run_label(panel.method, panel.target)}{written}, {measure.name}"
                sentences.append(f"{place}: {'; '.join(parts)}.")
    return " ".join(sentences)


def _factors(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return "no interval"
    return f"95 % interval {math.exp(-found.high):.2f} to {math.exp(-found.low):.2f}"


def amount_drawing(name: str, data: StudyResults, decisions: Decisions, *, there: bool = True) -> Drawing:
    """The figure with its data and words; nothing where no run has a number of samples, or not `there`."""
    panels = amount_panels(data) if there else []
    cells = [cell for panel in panels for line in panel.lines.values() for cell in line.values()]
    return Drawing(
        name,
        amount_figure(data) if panels else None,
        estimates_frame(data, data.headline, cells),
        "The number of calibration samples",
        amount_caption(data, decisions) if panels else "",
        "Lines of the outcome against the number of samples, one per source with a shaded standard deviation; a "
        "panel per method.",
    )


# Figure 4: the length of the prefix, with the real text as a line.


def prefix_panels(data: StudyResults) -> list[Panel]:
    """A panel per target, method and source, with its self-generated text."""
    return panels_of(data, "prefix_length", [("synthetic", [source]) for source in data.sources])


def place(prefix: float) -> float:
    """Where a prefix stands on the axis: powers of two one apart, and 0 one step before 1."""
    return -1.0 if prefix == 0 else math.log2(prefix)


def prefix_figure(data: StudyResults) -> Figure | None:
    """Draw it: a panel per outcome, method, target and source; None without self-generated text."""
    panels, measures = prefix_panels(data), data.headline
    if not panels:
        return None
    marks = drawing.marks_of(data)

    def draw(axes: Axes, measure: Measure, panel: Panel) -> str:
        ((source, line),) = panel.lines.items()
        colour = marks[source].colour
        solid = drawing.Mark(colour, MARKER, "-")
        points = [(place(p), e) for p, e in estimates_of(data, measure, line)]
        # The step from no prefix to one token is no step of a log axis: no line joins them.
        for part in ([q for q in points if q[0] < 0], [q for q in points if q[0] >= 0]):
            if part:
                drawing.band(axes, [x for x, _ in part], [e for _, e in part], solid)
            if len(part) == 1 and part[0][1].sd is not None:
                drawing.point(axes, *part[0], solid, size=5)
        real = cell_estimate(data, data.at(panel.method, panel.target, source, "real"), measure)
        if real is not None:
            axes.axhline(real.mean, color=colour, linestyle=drawing.DASHES[1], linewidth=1.2, zorder=2)
            if real.sd is not None:
                axes.axhspan(real.mean - real.sd, real.mean + real.sd, color=colour, alpha=0.09, linewidth=0, zorder=0)
        drawing.value_axis(axes, drawing.ends([*(e for _, e in points), real]), log=measure.lower_is_better)
        places = [place(p) for p in line]
        axes.set_xticks(places, [f"{p:.0f}" for p in line])
        axes.set_xlim(min(places) - 0.5, max(places) + 0.5)
        if len(line) > 9:
            axes.tick_params(axis="x", labelsize=7.5)
        axes.set_xlabel("prefix length, tokens (log scale from 1)")
        return f"{data.source_label(source)}, {run_label(panel.method, panel.target)}"

    width = max(3.1, 0.9 + 0.3 * max(len(panel.values) for panel in panels))
    size = max(4.8, 0.3 + width * len(panels)), 0.3 + 2.6 * len(measures)
    handles: list[Any] = [
        Line2D([], [], color=style.INK, marker=MARKER, markersize=5, linewidth=style.WIDTH, label="self-generated"),
        Line2D([], [], color=style.INK, linestyle=drawing.DASHES[1], linewidth=1.2, label="real text"),
        Patch(facecolor=style.INK, alpha=0.16, label="± one standard deviation over seeds"),
    ]
    return measure_grid(measures, panels, size, draw, handles)


def prefix_caption(data: StudyResults, decisions: Decisions) -> str:
    """What Figure 4 shows: prefixes that beat real text, and short against long ones."""
    sentences = [
        "Lines are means over sets, shaded one standard deviation; dashed the real text of that source. Better and "
        "worse: Welch's t over sets, p < 0.05 after Holm's correction over the prefix lengths."
    ]
    for measure, panel in itertools.product(data.headline, prefix_panels(data)):
        ((source, line),) = panel.texts.items()
        scope, models, lines = Scope(data, measure), panel.models, {source: {float(p): t for p, t in line.items()}}
        against = {p: against_real(scope, models, lines, p, f"prefix of {p}", panel.target) for p in line}
        parts = []
        if decided := decisions.family(against):
            better, worse, undecided = counted(decided.values())
            parts.append(
                f"self-generated text is better than real text at {better} of {len(decided)} prefix lengths, "
                f"worse at {worse}, undecided at {undecided}"
            )
        short, long = split(lines, SHORT)
        contrast = None
        if short and long:
            contrast = first_minus_second(scope, models, lines, short, long, "short minus long prefixes")
        if contrast is not None:
            side = {1: "better", -1: "worse", 0: "undecided"}[decisions.single(contrast).side]
            ends = f"prefixes of {min(short):.0f} to {max(short):.0f} tokens minus longer ones"
            parts.append(f"{ends}: {shown(contrast)}, {side}")
        if parts:
            where = f"{data.source_label(source)}, {run_label(panel.method, panel.target)}, {measure.name}"
            sentences.append(f"{where}: {'; '.join(parts)}.")
    return " ".join(sentences)


def prefix_drawing(name: str, data: StudyResults, decisions: Decisions, *, there: bool = True) -> Drawing:
    """The figure with its data and words; nothing without self-generated text, or not `there`."""
    panels, cells = prefix_panels(data) if there else [], []
    for panel in panels:
        for source, line in panel.lines.items():
            cells += [data.at(panel.method, panel.target, source, "real"), *line.values()]
    return Drawing(
        name,
        prefix_figure(data) if panels else None,
        estimates_frame(data, data.headline, cells),
        "The length of the prefix that the model continues",
        prefix_caption(data, decisions) if panels else "",
        "Line of the outcome against the prefix length with a shaded standard deviation; the real text is dashed.",
    )
