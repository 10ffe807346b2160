"""The picture of a race: candidates by their measure, and how the bound shrank."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.results.race_candidates import Raced, per_cent, raced

COLOURS = {
    "leader": style.PALETTE[0],
    "best": style.PALETTE[0],
    "measured": "#7a828c",
    "as good": style.PALETTE[2],
    "open": style.PALETTE[4],
    "worse": style.PALETTE[1],
    "out": "#9aa1aa",
}
NEAR = ("leader", "best", "measured", "as good", "open")  # states whose rows decide what the axis shows
MOST = 10  # rows; the table of the page has all
LONGEST = 26  # letters of a name beside the picture
FAR = 100.0  # per cent worse, from which even the best rival is only named
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("candidate", "state"), pl.String),
    "sets": pl.Int64,
    **dict.fromkeys(("worse", "low", "high"), pl.Float64),
    "values": pl.String,
}


def race_drawing(facts: Mapping[str, Any]) -> Drawing:
    """The picture with its numbers and words; no figure before anything is measured."""
    rows = [each for each in raced(facts) if each.worse is not None]
    data = pl.DataFrame(
        [
            {"candidate": each.name, "state": each.state, "sets": each.sets, "worse": each.worse, "low": each.low,
             "high": each.high, "values": " ".join(f"{dot:.6g}" for dot in each.dots)}
            for each in rows
        ],
        schema=SCHEMA,
    )  # fmt: skip
    more = f" The best {MOST} of {len(rows)} are drawn." if len(rows) > MOST else ""
    dots = "Dots: measured sets. " if any(each.dots for each in rows) else ""
    return Drawing(
        "race",
        race_figure(facts, rows[:MOST]) if rows else None,
        data,
        "The race",
        f"Left: texts by how much worse they measured than the leader. {dots}Diamond: their mean. Bar: interval of the "
        f"difference to the leader. Right: by how much at most another may be better, after so many sets.{more}",
        "A row for each candidate, best first: "
        + "; ".join(f"{each.name}, {each.told}, {style.plain(each.worse or 0.0)} % worse" for each in rows)
        + ".",
    )


def race_figure(facts: Mapping[str, Any], rows: Sequence[Raced]) -> Figure:
    """Candidates on the left, the bound over the looks on the right.

    Args:
        facts: of the race.
        rows: measured candidates, best first.
    """
    with style.context():
        figure = Figure(figsize=(6.6, 1.05 + (0.36 if len(rows) < 9 else 0.31) * max(len(rows), 4)))
        left, right = figure.subplots(1, 2, width_ratios=(2.3, 1))
        _candidates(left, rows)
        _bounds(right, facts)
        figure.tight_layout(w_pad=1.6)
    return figure


def _candidates(axes: Axes, rows: Sequence[Raced]) -> None:
    low, high = _limits(rows)
    axes.axvline(0, color=style.RULE, linewidth=1, zorder=0)
    for place, each in enumerate(rows):
        colour = COLOURS.get(each.state, style.MUTED)
        faded = 0.55 if each.state == "out" else 1.0
        mean = each.worse or 0.0
        if mean > high:
            axes.annotate(
                f"{style.plain(mean)} % →", (high, place), ha="right", va="center", size=8, color=colour, zorder=3
            )
            continue
        if each.low is not None and each.high is not None:
            ends = [max(each.low, low), min(each.high, high)]
            axes.plot(ends, [place, place], color=colour, linewidth=2, alpha=0.45 * faded, zorder=2)
        seen = [dot for dot in each.dots if low <= dot <= high]
        axes.plot(
            seen, [place + 0.24] * len(seen), "o", color=colour, markersize=3.2, alpha=0.75 * faded, markeredgewidth=0
        )
        axes.plot([mean], [place], "D", color=colour, markersize=5.5, alpha=faded, zorder=3)
    axes.set_ylim(len(rows) - 0.45, -0.6)
    axes.set_yticks(range(len(rows)), [_label(each) for each in rows], size=8.5, linespacing=1.15)
    for text, each in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_color(style.MUTED if each.state == "out" else style.INK)
    axes.set_xlim(low, high)
    style.linear_ticks(axes)
    axes.spines["left"].set_visible(False)
    axes.set_title("The texts tried, best first")
    axes.set_xlabel("% worse than the leader")


def _limits(rows: Sequence[Raced]) -> tuple[float, float]:
    """What the axis shows: all of what may be best and of the next; what lies far beyond is named at the edge."""
    near = [e for at, e in enumerate(rows) if e.state in NEAR or (at == 1 and (e.worse or 0.0) < FAR)]
    ends = [end for each in near for end in (each.worse, each.low, each.high, *each.dots) if end is not None]
    others = [end for each in rows for end in (each.worse, *each.dots) if end is not None]
    means = [each.worse for each in near if each.worse is not None]
    reach = max(1.0, 4 * max(means), 4 * max((abs(dot) for dot in rows[0].dots), default=0.0))
    high = min(max([*ends, *others, 0.5]), reach)
    low = max(min([*ends, *others, 0.0]), -reach)
    room = 0.05 * (high - low)
    return low - room, high + room


def _label(each: Raced) -> str:
    cut = f"{each.name[: LONGEST // 2].rstrip()}…{each.name[-LONGEST // 2 :].lstrip()}"  # ends tell names apart
    name = each.name if len(each.name) <= LONGEST else cut
    return f"{name}\n{each.told}"


def _bounds(axes: Axes, facts: Mapping[str, Any]) -> None:
    known = [(look["sets"], _better(look["bound"])) for look in facts["looks"] if look["bound"] is not None]
    margin = 100 * float(facts["margin"])
    axes.set_title("How sure: the bound")
    axes.set_xlabel("sets measured")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y")
    if not known:
        axes.text(0.5, 0.5, "nothing is\nclaimed yet", ha="center", va="center", transform=axes.transAxes,
                  color=style.MUTED)  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        return
    colour = COLOURS["leader"]
    axes.plot(*zip(*known, strict=True), color=colour, marker="o", markersize=5, zorder=3, clip_on=False)
    shown, forecast = list(known), facts["forecast"]
    if forecast is not None and forecast["bound"] is not None:
        ahead = (known[-1][0] + forecast["sets"], _better(forecast["bound"]))
        axes.plot(*zip(known[-1], ahead, strict=True), color=colour, linestyle=(0, (1, 1.5)), linewidth=1.3, zorder=2)
        axes.plot(*ahead, "o", color=colour, markerfacecolor=style.PAPER, markersize=5, zorder=3, clip_on=False)
        axes.annotate("forecast", ahead, xytext=(0, 7), textcoords="offset points", ha="right", size=7.5,
                      color=style.MUTED)  # fmt: skip
        shown.append(ahead)
    top = max(*(bound for _, bound in shown), margin)
    axes.axhline(margin, color=style.MUTED, linewidth=1, linestyle=(0, (5, 2)), zorder=1)
    first = min(sets for sets, _ in shown)
    last = max(sets for sets, _ in shown)
    axes.set_xlim(max(0.0, first - 0.12 * max(last, 4)), last + 0.08 * max(last, 4))
    axes.annotate(f"margin {style.plain(margin)} %", (axes.get_xlim()[0], margin), xytext=(2, 3),
                  textcoords="offset points", size=7.5, color=style.MUTED)  # fmt: skip
    axes.set_ylim(0, 1.15 * top)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=style.STEPS))
    axes.yaxis.set_major_formatter(lambda value, _: f"{style.plain(value)} %")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 4, 5, 10]))


def _better(bound: float) -> float:
    """A bound as per cent of what is measured that another may be better by."""
    return -per_cent(-bound)
