"""Figure 2: what the choice of source moves, by sparsity, and by width where a study has some."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibrant.reporting.figures import drawing
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.panel_grid import measure_grid
from calibrant.reporting.inference.effects import source_range
from calibrant.reporting.inference.ranges import Range
from calibrant.reporting.inference.words import ranged
from calibrant.reporting.results.cells import is_ratio, kind_of, method_label, sparsity_of, target_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import listed
from calibrant.reporting.results.study_results import StudyResults

RANGE_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("measure", "method", "sparsity", "lowest", "highest"), pl.String),
    "sources": pl.Int64,
    **dict.fromkeys(("range", "low", "high"), pl.Float64),
}


Ranges = dict[tuple[Measure, str, str], Range]  # by outcome, method and target


def ranges_of(data: StudyResults, methods: Sequence[str]) -> Ranges:
    """The ranges over sources, of two or more."""
    return {
        (measure, method, target): found
        for measure in data.headline
        for method in methods
        for target in data.targets
        if (found := source_range(data, method, target, measure)) is not None
    }


def range_data(found: Ranges) -> pl.DataFrame:
    """The numbers of Figure 2: a row for each outcome, method and target."""
    rows = [
        {"measure": measure.key, "method": method, "sparsity": target, "lowest": r.lowest, "highest": r.highest,
         "sources": r.groups, "range": r.value, "low": r.low, "high": r.high}
        for (measure, method, target), r in found.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=RANGE_SCHEMA)


def range_figure(data: StudyResults, methods: Sequence[str], found: Ranges) -> Figure | None:
    """Figure 2: the range over sources against (a) the sparsity ratio and (b) the type of sparsity at one half.

    Targets with a width, which are on no axis of sparsity, have a panel of their own. A row of panels per outcome, a
    grey line per method, bars from low to high of the range's interval; None without two sources anywhere.
    """
    if not found:
        return None
    run = {target for _, _, target in found}
    pruned = {t: pattern.sparsity for t in data.targets if t in run and (pattern := sparsity_of(t))}
    ratios = [t for t in pruned if is_ratio(t)]
    types = [t for t, share in pruned.items() if share == 0.5]
    other = [t for t in data.targets if t in run and t not in pruned]
    panels = [*([ratios] if ratios else []), *([types] if any(not is_ratio(t) for t in types) else [])]
    panels = [*(panels or ([list(pruned)] if pruned else [])), *([other] if other else [])]
    marks = drawing.method_marks(methods)

    def draw(axes: Axes, measure: Measure, targets: list[str]) -> str:
        by_ratio = targets is ratios
        for number, method in enumerate(methods):
            here = [(s, found[measure, method, s]) for s in targets if (measure, method, s) in found]
            shift = (number - (len(methods) - 1) / 2) * (0.6 if by_ratio else 0.12)
            xs = [(100 * pruned[t] if by_ratio else targets.index(t)) + shift for t, _ in here]
            _ranges(axes, xs, [r for _, r in here], marks[method], joined=by_ratio)
        if by_ratio:
            axes.set_xticks([100 * pruned[t] for t in targets])
            axes.set_xlabel("pruned weights, %")
        else:
            names = [f"unstructured\n{target_label(t)}" if t in ratios else drawing.tick(t) for t in targets]
            axes.set_xticks(range(len(targets)), names)
            axes.set_xlim(-0.5, len(targets) - 0.5)
            axes.set_xlabel("width" if targets is other else "type of sparsity")
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        tops = [r.high or r.value for (m, _, _), r in found.items() if m == measure]
        axes.set_ylim(0, 1.12 * max(*tops, 1e-9))
        return drawing.heading(measure)

    size = max(4.6, 3.4 * len(panels)), 0.3 + 2.5 * len(data.headline)
    handles = [drawing.handle(marks[m], method_label(m), line=True) for m in methods if len(methods) > 1]
    return measure_grid(
        data.headline, panels, size, draw, handles, label=lambda m: f"max − min, {m.unit_of_scores}", sharey="row"
    )


def _ranges(axes: Axes, xs: Sequence[float], ranges: Sequence[Range], mark: drawing.Mark, *, joined: bool) -> None:
    if joined:
        axes.plot(xs, [r.value for r in ranges], color=mark.colour, linestyle=mark.dashes, linewidth=1.2, zorder=2)
    for x, r in zip(xs, ranges, strict=True):
        if r.low is not None and r.high is not None:
            axes.errorbar([x], [r.value], yerr=[[r.value - r.low], [r.high - r.value]], fmt="none", ecolor=mark.colour,
                          elinewidth=1.2, capsize=2.5, zorder=2)  # fmt: skip
        axes.plot([x], [r.value], mark.marker, color=mark.colour, markersize=5.5, zorder=3, clip_on=False)


def range_caption(data: StudyResults, methods: Sequence[str], ranges: Ranges) -> str:
    """What Figure 2 shows, with the mildest and the hardest setting in numbers."""
    sentences = []
    for measure in data.headline:
        for method in methods:
            known = [(s, r) for (m, by, s), r in ranges.items() if (m, by) == (measure, method)]
            if not known:
                continue
            picked = known if len(known) < 3 else [known[0], known[-1]]
            if len(known) > 2:
                picked.insert(1, max(known[1:-1], key=lambda pair: pair[1].value))
            parts = [f"{ranged(r, measure.unit_of_scores)} at {target_label(s)}" for s, r in picked]
            sentences.append(
                f"{method_label(method)}, {measure.name}: over {known[0][1].groups} sources {listed(parts)}."
            )
    return (
        "Range of the means over seeds, best source minus worst. Bars: 95 % intervals from the studentized range, "
        "which allow for the largest and the smallest mean having been picked. " + " ".join(sentences)
    )


def range_drawing(name: str, data: StudyResults, methods: Sequence[str]) -> Drawing:
    """The figure with its data and words."""
    found = ranges_of(data, methods)
    return Drawing(
        name,
        range_figure(data, methods, found),
        range_data(found),
        f"What the choice of source moves, by {kind_of(data.targets)}",
        range_caption(data, methods, found),
        "Line of the range of the sources' means against the share of pruned weights, and points for the types of "
        "sparsity at one half, each with its interval.",
    )
