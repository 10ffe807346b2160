"""Figure: how much the choice of text matters, by target: every text's loss, and below what the choice moves."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from calibrant.reporting.figures import drawing, style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.panel_grid import legend
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.inference.text_effects import TextEffect, TextEffects
from calibrant.reporting.inference.text_findings import caveat, common_group, target_names, weak_targets
from calibrant.reporting.results.cells import baseline_cell, baseline_words, kind_of, method_label, target_label
from calibrant.reporting.results.model_bits import FileBits
from calibrant.reporting.results.study_results import StudyResults

TITLE = "How much the text matters, by target"
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("measure", "sparsity", "method", "source", "origin"), pl.String),
    **dict.fromkeys(("mean", "sd", "low", "high"), pl.Float64),
    "n": pl.Int64,
    **dict.fromkeys(("range", "range_low", "range_high", "deviation", "p", "p_holm"), pl.Float64),
}
WIDE = 0.9  # of the room of a target, for its methods
LUCK = "#E69F00"  # of the palette; sources of the same colour are points, and above
BAR = 0.11  # half the length of a deviation's bar, of the same room
DIFFERS = "†"  # above a range: the texts differ


def text_effects_data(effects: TextEffects) -> pl.DataFrame:
    """A row for each target, method and text, then one for the range of the texts, with no source."""
    found: list[dict[str, Any]] = []
    for target in effects.targets:
        for method, effect in effects.at(target).items():
            key = {"measure": effects.measure.key, "sparsity": target, "method": method}
            for text, mean in effect.means.items():
                found.append({**key, "source": text.source, "origin": text.origin, **_numbers(mean)})
            moved, decided = effect.moved, effect.decided
            ends = {"range": moved.value, "range_low": moved.low, "range_high": moved.high}
            tested = {"deviation": moved.deviation, "p": decided.contrast.estimate.p, "p_holm": decided.p_holm}
            found.append({**key, **_numbers(effect.mean), **ends, **tested})
    return pl.DataFrame(found, schema=SCHEMA)


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in ("mean", "sd", "low", "high", "n")}


def text_effects_figure(data: StudyResults, effects: TextEffects, bits: FileBits | None = None) -> Figure:
    """Above every text's mean with its 95 % interval on a log axis, below the range of the texts in per cent.

    Colours are sources, markers methods. Targets that say little of other models have a grey ground.
    """
    methods = [m for m in data.methods if any(m == method for _, method in effects.effects)]
    marks = dict(zip(methods, drawing.MARKERS, strict=False))
    widest = max(len(effects.at(target)) for target in effects.targets)
    with style.context():
        width = max(6.4, 1.2 + len(effects.targets) * (0.55 + 0.3 * widest))
        figure = Figure(figsize=(width, 5.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.5, 1]})
        for x, target in enumerate(effects.targets):
            here = effects.at(target)
            for axes in (above, below) if target in weak_targets(effects.targets, bits) else ():
                axes.axvspan(x - 0.5, x + 0.5, color=style.RULE, alpha=0.35, linewidth=0, zorder=0)
            for place, (method, effect) in enumerate(here.items()):
                step = WIDE / len(here)
                centre = x - WIDE / 2 + (place + 0.5) * step
                _texts(above, data, effect, centre, 0.86 * step, marks[method])
                _moved(below, effect, centre, marks[method])
            if plain := effects.plain.get(target):
                above.hlines(plain.mean, x - WIDE / 2, x + WIDE / 2, color=style.MUTED, linewidth=1,
                             linestyle=drawing.BASELINE, zorder=1)  # fmt: skip
        _axes(above, below, effects)
        legend(figure, _handles(data, effects, marks, shaded=bool(weak_targets(effects.targets, bits))))
    return figure


def _texts(axes: Axes, data: StudyResults, effect: TextEffect, centre: float, width: float, marker: str) -> None:
    """The means of the texts side by side, each with its interval; self-generated ones hollow."""
    marks = drawing.marks_of(data)
    for number, (text, found) in enumerate(effect.means.items()):
        x = centre + width * ((number + 0.5) / len(effect.means) - 0.5)
        colour = marks[text.source].colour
        if found.low is not None and found.high is not None:
            axes.plot([x, x], [max(found.low, 0.3 * found.mean), found.high], color=colour, linewidth=1.1, zorder=2)
        face = colour if text.origin == "real" else style.PAPER
        axes.plot([x], [found.mean], marker, color=colour, markerfacecolor=face, markersize=4.5, markeredgewidth=1.1,
                  zorder=3)  # fmt: skip


def _moved(axes: Axes, effect: TextEffect, x: float, marker: str) -> None:
    """The range with its interval, and beside it the deviation between sets of one text."""
    moved = effect.moved
    if moved.low is not None and moved.high is not None:
        axes.plot([x, x], [moved.low, moved.high], color=style.INK, linewidth=1.2, zorder=2)
    axes.plot([x], [moved.value], marker, color=style.INK, markersize=5.5, zorder=3, clip_on=False)
    if moved.deviation is not None:
        axes.hlines(moved.deviation, x - BAR, x + BAR, color=LUCK, linewidth=2.4, zorder=1.5)
    if effect.differs:
        axes.annotate(DIFFERS, (x, moved.high or moved.value), (0, 1), textcoords="offset points", ha="center",
                      va="bottom", size=9)  # fmt: skip


def _axes(above: Axes, below: Axes, effects: TextEffects) -> None:
    measure, names = effects.measure, target_names(effects.targets)
    shown = [v for e in effects.effects.values() for m in e.means.values() for v in (m.mean, m.high or m.mean)]
    shown += [max(m.low, 0.3 * m.mean) for e in effects.effects.values() for m in e.means.values() if m.low is not None]
    drawing.value_axis(above, [*shown, *(plain.mean for plain in effects.plain.values())], log=True, room=0.06)
    above.set_title(f"(a) {drawing.heading(measure)}, each text")
    above.set_ylabel(f"{measure.unit} a token, log scale ↓" if measure.kind == "divergence" else "log scale ↓")
    top = max(e.moved.high or e.moved.value for e in effects.effects.values())
    below.set_ylim(-0.03 * max(top, 1e-9), 1.2 * max(top, 1e-9))
    below.grid(axis="y")
    below.spines["left"].set_visible(False)
    differ = f"; {DIFFERS} the texts differ" if any(e.differs for e in effects.effects.values()) else ""
    below.set_title(f"(b) What the choice of text moves{differ}")
    below.set_ylabel(measure.unit_of_scores)
    kind = kind_of(names)
    ticks = [target_label(t) if kind == "sparsity" else _in_lines(name) for t, name in names.items()]
    below.set_xticks(range(len(names)), ticks)
    below.tick_params(axis="x", length=0, labelcolor=style.INK)
    below.set_xlim(-0.5, len(names) - 0.5)
    group = common_group(effects.targets)
    widths = f"; widths with a scale for each {group} columns" if group else ""
    below.set_xlabel(f"{kind}, from mild to severe{widths}")
    above.tick_params(axis="x", length=0)
    for axes in (above, below):
        for edge in range(1, len(names)):
            axes.axvline(edge - 0.5, color=style.RULE, linewidth=0.6, zorder=0)


def _in_lines(name: str) -> str:
    return name.replace(" sparsity", "\nsparsity").replace(" and ", "\n").replace(", ", "\n")


def _handles(data: StudyResults, effects: TextEffects, marks: dict[str, str], *, shaded: bool) -> list[Any]:
    colours = drawing.marks_of(data)
    texts = {text for effect in effects.effects.values() for text in effect.means}
    square = {s: drawing.Mark(colours[s].colour, "s", "-") for s in data.sources if any(t.source == s for t in texts)}
    found: list[Any] = [drawing.handle(mark, data.source_label(s)) for s, mark in square.items()]
    if len({text.origin for text in texts}) > 1:
        found.append(drawing.handle(drawing.Mark(style.MUTED, "s", "-"), "self-generated", hollow=True))
    found += [drawing.handle(drawing.Mark(style.INK, m, "-"), method_label(method)) for method, m in marks.items()]
    if effects.plain:
        found.append(drawing.baseline_handle(f"{baseline_words(map(baseline_cell, effects.plain))}, no text"))
    if any(effect.moved.deviation is not None for effect in effects.effects.values()):
        found.append(Line2D([], [], color=LUCK, linewidth=2.4, label="deviation between sets of one text"))
    return [*found, *([Patch(color=style.RULE, alpha=0.35, label="says little of other models")] if shaded else [])]


def text_effects_drawing(name: str, data: StudyResults, effects: TextEffects | None, bits: FileBits | None) -> Drawing:
    """The figure with its data and words; nothing without effects."""
    if effects is None:
        return Drawing(name, None, pl.DataFrame(schema=SCHEMA), TITLE, "", "")
    return Drawing(
        name,
        text_effects_figure(data, effects, bits),
        text_effects_data(effects),
        TITLE,
        "Above: means over sets, lines 95 % intervals by Student's t. Below: the range of the texts' means in per cent "
        f"(100 ln of the ratio: the largest against the least) with its 95 % interval by the studentized range; "
        f"{DIFFERS} the texts differ. {caveat(effects, bits)}".strip(),
        f"Dot plot of the {effects.measure.name} for each text, target and method, and of the range of the texts with "
        "its interval below. The table of the choice of text by target holds the same numbers.",
    )
