"""What the paper's figures share: how a source and a method look, axes of values, entries of legends."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from calibrant.reporting.figures import style
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import baseline_cell, baselines, method_label, target_label
from calibrant.reporting.results.measures import Measure, in_sentence
from calibrant.reporting.results.study_results import StudyResults

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1.2)),
    (0, (5, 1.4, 1, 1.4)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
GREYS = (style.INK, "#7a828c", "#4a4f57", "#a3abb5")
BASELINE = (0, (5, 2))  # the dashes of the line for the method that reads no text


@dataclass(frozen=True)
class Mark:
    """How one source or method is drawn: told apart by colour, and in print by marker and dashes."""

    colour: str
    marker: str
    dashes: Any


def source_marks(sources: Sequence[str]) -> dict[str, Mark]:
    """A mark for each source by its place in the report, with the colours that all figures use."""
    colours = style.colours(sources)
    return {s: Mark(colours[s], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)]) for i, s in enumerate(sources)}


def marks_of(data: StudyResults) -> dict[str, Mark]:
    """The marks of a study's sources, those without runs included, so that they are the same in all its targets."""
    return source_marks([*data.labels, *(s for s in data.sources if s not in data.labels)])


def method_marks(methods: Sequence[str]) -> dict[str, Mark]:
    """A grey mark for each method, since colours stand for sources."""
    return {
        m: Mark(GREYS[i % len(GREYS)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, m in enumerate(methods)
    }


def heading(measure: Measure) -> str:
    """A measure as a panel's title."""
    if measure.kind == "perplexity":
        return f"Perplexity on {in_sentence(measure.label)}"
    if measure.kind == "divergence":
        return f"Divergence from the dense model on {in_sentence(measure.label)}"
    return measure.label if measure.kind == "average" else f"Accuracy on {measure.label}"


def axis_label(measure: Measure) -> str:
    """A measure as the label of an axis: quantity, unit, direction; in lines that fit a panel's height."""
    text = f"{heading(measure)} ↓" if measure.kind == "perplexity" else f"{heading(measure)}, % ↑"
    return textwrap.fill(text, 24)


def tick(target: str) -> str:
    """A target below an axis, in lines: `4 bits` above `group 64`."""
    return target_label(target).replace(" and ", "\n").replace(", ", "\n")


def letter(number: int) -> str:
    """`(a)` of the first panel."""
    return f"({chr(97 + number)})"


def point(axes: Axes, x: float, estimate: Estimate, mark: Mark, *, hollow: bool = False, size: float = 5.5) -> None:
    """A mean with a bar of one standard deviation to either side."""
    axes.errorbar(
        [x],
        [estimate.mean],
        yerr=None if estimate.sd is None else [estimate.sd],
        fmt=mark.marker,
        color=mark.colour,
        markerfacecolor=style.PAPER if hollow else mark.colour,
        markeredgewidth=1.3,
        markersize=size,
        elinewidth=1.3,
        capsize=2.5,
        zorder=3,
    )


def band(axes: Axes, xs: Sequence[float], estimates: Sequence[Estimate], mark: Mark) -> None:
    """Means joined by a line, one standard deviation shaded; a point without one stays without shade."""
    means = [e.mean for e in estimates]
    known = [(x, e.mean, e.sd) for x, e in zip(xs, estimates, strict=True) if e.sd is not None]
    if known:
        axes.fill_between(
            [x for x, _, _ in known],
            [mean - sd for _, mean, sd in known],
            [mean + sd for _, mean, sd in known],
            color=mark.colour,
            alpha=0.16,
            linewidth=0,
            zorder=1,
        )
    axes.plot(xs, means, color=mark.colour, linestyle=mark.dashes, marker=mark.marker, markersize=5, zorder=3)


def ends(estimates: Iterable[Estimate | None]) -> list[float]:
    """The ends of the bars, which an axis must show."""
    return [v for e in estimates if e is not None for v in (e.mean - (e.sd or 0.0), e.mean + (e.sd or 0.0))]


def value_axis(axes: Axes, shown: Sequence[float], *, log: bool, room: float = 0.12) -> None:
    """Limits and a few round ticks on the y axis, if it shows anything; a log axis for a factor of four or more."""
    if not shown:
        return
    log = log and min(shown) > 0 and max(shown) / min(shown) >= 4
    forward, back = (math.log, math.exp) if log else (float, float)
    low, high = forward(min(shown)), forward(max(shown))
    pad = room * max(high - low, 0.02 if log else 1e-3 * max(1.0, abs(high)))
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high - low < 4 else (1.0, 3.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.plain(value)))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=style.STEPS, min_n_ticks=3))
    axes.set_ylim(back(low - pad), back(high + pad))
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)


def against_baseline(axes: Axes, data: StudyResults, target: str, measure: Measure, shown: list[float]) -> None:
    """The axis of `shown`, with the method that reads no text at that target.

    It is a dashed line where it lies near them, else a note at the edge that says where it lies.
    """
    cell = baseline_cell(target)
    plain = cell_estimate(data, cell, measure)
    if plain is not None and shown:
        low, high, value = min(shown), max(shown), plain.mean
        width = max(high - low, 1e-3 * max(1.0, abs(high)))
        if low - 1.2 * width <= value <= high + 1.2 * width:
            axes.axhline(value, color=style.MUTED, linewidth=1, linestyle=BASELINE, zorder=1)
            shown = [*shown, value]
        else:
            axes.annotate(
                f"{in_sentence(method_label(cell.method))} {style.plain(value)} {'↑' if value > high else '↓'}",
                (1.0, 1.0),  # above the panel in either case: within it are the points
                xycoords="axes fraction",
                xytext=(0, 2),
                textcoords="offset points",
                ha="right",
                va="bottom",
                size=7.5,
                color=style.MUTED,
            )
    value_axis(axes, shown, log=measure.lower_is_better)


def source_handles(data: StudyResults, more: Sequence[Any] = ()) -> list[Any]:
    """Entries of the sources, of what else there is, and of the method that reads no text where it was run."""
    marks = marks_of(data)
    plain = dict.fromkeys(in_sentence(method_label(m)) for m in baselines(data.cells))
    line = [baseline_handle(f"{' or '.join(plain)}, no data")] if plain else []
    return [*(handle(marks[s], data.source_label(s)) for s in data.sources), *more, *line]


def handle(mark: Mark, label: str, *, line: bool = False, hollow: bool = False, **look: Any) -> Line2D:
    """An entry of a legend; `look`: what else matplotlib takes for it."""
    return Line2D(
        [],
        [],
        color=mark.colour,
        marker=mark.marker,
        linestyle=mark.dashes if line else "none",
        markerfacecolor=style.PAPER if hollow else mark.colour,
        label=label,
        **{"linewidth": style.WIDTH, "markersize": 5.5, "markeredgewidth": 1.3, **look},
    )


def baseline_handle(label: str) -> Line2D:
    """The entry of the dashed line."""
    return Line2D([], [], color=style.MUTED, linewidth=1, linestyle=BASELINE, label=label)
