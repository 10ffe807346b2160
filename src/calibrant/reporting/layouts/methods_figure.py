"""Figure 1: methods against calibration data, which matters more?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from calibrant.reporting import style
from calibrant.reporting.comparison import Cell, Comparison, method_label, sparsity_label
from calibrant.reporting.layouts import drawing, rows, words
from calibrant.reporting.layouts.ranges import Range, value_range
from calibrant.reporting.layouts.slices import headline, in_order
from calibrant.reporting.measures import Measure
from calibrant.reporting.table import Column, Row, Section, Table


@dataclass(frozen=True)
class Effects:
    """What the choice of text and the choice of method move, each averaged over the other; None: not run."""

    text: Range | None
    method: Range | None

    @property
    def verdict(self) -> str:
        """Which matters more; `undecided` where the intervals overlap, `unknown` where one is missing."""
        if self.text is None or self.method is None or self.text.low is None or self.method.low is None:
            return "unknown"
        if self.text.high is None or self.method.high is None:
            return "unknown"
        if self.text.low > self.method.high:
            return "text"
        return "method" if self.method.low > self.text.high else "undecided"


def effects(data: Comparison, sparsity: str, measure: Measure) -> Effects:
    """Ranges of the sources' means (over methods) and of the methods' means (over sources), on real text.

    Only sources that every method was run on count, and seeds that all of these share, so that each mean is over
    the same runs.
    """
    methods = [m for s, m in data.combinations() if s == sparsity]
    values = {(m, s): data.values(Cell(m, sparsity, s, "real"), measure) for m in methods for s in data.sources}
    sources = [s for s in data.sources if all(values[m, s] for m in methods)]
    seeds = [
        seed
        for seed in (values[methods[0], sources[0]] if methods and sources else ())
        if all(seed in values[m, s] for m in methods for s in sources)
    ]
    if not seeds:
        return Effects(None, None)

    def means(names: Sequence[str], others: Sequence[str], key: Callable[[str, str], tuple[str, str]]) -> Range | None:
        return value_range(
            {n: [sum(values[key(n, o)][seed] for o in others) / len(others) for seed in seeds] for n in names}
        )

    return Effects(means(sources, methods, lambda s, m: (m, s)), means(methods, sources, lambda m, s: (m, s)))


def methods_figure(data: Comparison) -> Figure | None:
    """A panel per outcome and sparsity: methods along x, a point per source; the dashed line is magnitude."""
    sparsities = [s for s in in_order(data.sparsities) if any(c == s for c, _ in data.combinations())]
    measures = headline(data)
    if not sparsities or not measures:
        return None
    marks = drawing.marks_of(data)
    with style.context():
        width = max(2.6, 0.9 + 0.24 * len(data.sources) * len(data.methods))
        figure = Figure(figsize=(max(4.4, 0.4 + width * len(sparsities)), 0.3 + 2.5 * len(measures)))
        grid = figure.subplots(len(measures), len(sparsities), squeeze=False)
        for row, measure in enumerate(measures):
            for column, sparsity in enumerate(sparsities):
                axes = grid[row][column]
                limits: list[float] = []
                for x, method in enumerate(data.methods):
                    for number, source in enumerate(data.sources):
                        found = data.estimate(Cell(method, sparsity, source, "real"), measure)
                        if found is not None:
                            shift = 0.7 * ((number + 0.5) / len(data.sources) - 0.5)
                            drawing.point(axes, x + shift, found, marks[source])
                            limits += drawing.ends([found])
                magnitude = data.estimate(Cell("magnitude", sparsity), measure)
                if magnitude is not None and limits:
                    limits += drawing.reference_line(axes, "magnitude", magnitude.mean, limits)
                if limits:
                    drawing.value_axis(axes, limits, log=measure.lower_is_better)
                axes.set_xticks(range(len(data.methods)), [method_label(m) for m in data.methods])
                axes.set_xlim(-0.5, len(data.methods) - 0.5)
                axes.set_title(f"{drawing.letter(row * len(sparsities) + column)} {sparsity_label(sparsity)}")
                if column == 0:
                    axes.set_ylabel(drawing.axis_label(measure))
        handles = [drawing.handle(marks[s], data.source_label(s)) for s in data.sources]
        if any(cell.method == "magnitude" for cell in data.cells):
            handles.append(drawing.MAGNITUDE_HANDLE)
        drawing.legend(figure, handles)
        figure.tight_layout(w_pad=1.6, h_pad=1.4)
    return figure


WORDS = {
    "text": "the choice of text moves it more",
    "method": "the choice of method moves it more",
    "undecided": "which moves it more is open, since the intervals overlap",
    "unknown": "which moves it more is open without intervals",
}


def methods_caption(data: Comparison) -> str:
    """What Figure 1 shows: both ranges, with their intervals, for each outcome and sparsity."""
    sentences = ["Means over seeds, bars one standard deviation. Dashed: magnitude pruning, which uses no data."]
    for sparsity in in_order(data.sparsities):
        for measure in headline(data):
            found = effects(data, sparsity, measure)
            if found.text is None or found.method is None:
                continue
            sentences.append(
                f"{sparsity_label(sparsity)}, {measure.name}: {found.text.groups} texts lie within "
                f"{words.ranged(found.text, measure)}, {found.method.groups} methods within "
                f"{words.ranged(found.method, measure)}; {WORDS[found.verdict]}."
            )
    return " ".join(sentences)


def effects_table(data: Comparison) -> list[Table]:
    """The ranges in numbers: a section per outcome, a row per sparsity."""
    sections = []
    decimals = max((m.decimals for m in headline(data)), default=2)
    for measure in headline(data):
        shown = []
        for sparsity in in_order(data.sparsities):
            found = effects(data, sparsity, measure)
            if found.text is None and found.method is None:
                continue
            verdict = {"text": "text", "method": "method"}.get(found.verdict, "undecided")
            shown.append(Row(sparsity_label(sparsity), [*_cells(found.text), *_cells(found.method), verdict]))
        if shown:
            sections.append(Section(f"{measure.label}, {rows.direction(measure)}", shown))
    columns = [
        column
        for key, title in (("texts", "Texts"), ("methods", "Methods"))
        for column in (
            Column(key, title, "number", 0),
            Column(f"{key}_range", "Range", "max − min", decimals),
            Column(f"{key}_low", "from", "95 %", decimals),
            Column(f"{key}_high", "to", "95 %", decimals),
        )
    ]
    caption = (
        "Range of the means of the texts, each averaged over the methods, and of the methods, each averaged over the "
        "texts; 95 % intervals from the studentized range over seeds. A range grows with the number of "
        "things compared. Moves more: names one only where the two intervals do not overlap."
    )
    if not sections:
        return []
    columns.append(Column("moves_more", "Moves more", kind="text"))
    return [Table("Calibration text against method", caption, "Sparsity", columns, sections)]


def _cells(found: Range | None) -> list[float | int | None]:
    return [None] * 4 if found is None else [found.groups, found.value, found.low, found.high]
