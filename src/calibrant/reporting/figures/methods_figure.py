"""Figure 1: methods against calibration data, which matters more?"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibrant.reporting.figures import drawing
from calibrant.reporting.figures.figure_files import Drawing
from calibrant.reporting.figures.frames import estimates_frame
from calibrant.reporting.figures.panel_grid import measure_grid
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.inference.effects import effects
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.source_claims import data_against_method
from calibrant.reporting.inference.words import ranged
from calibrant.reporting.results.cells import baseline_words, kind_of, method_label, target_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults


def methods_figure(data: StudyResults) -> Figure | None:
    """A panel per outcome and target: its methods along x, a point per source; dashed the one that reads no text."""
    targets = [s for s in data.targets if any(c == s for c, _ in data.combinations())]
    measures = data.headline
    if not targets or not measures:
        return None
    marks = drawing.marks_of(data)

    def draw(axes: Axes, measure: Measure, target: str) -> str:
        limits: list[float] = []
        methods = [m for t, m in data.combinations() if t == target]
        for x, method in enumerate(methods):
            for number, source in enumerate(data.sources):
                found = cell_estimate(data, data.at(method, target, source, "real"), measure)
                if found is not None:
                    shift = 0.7 * ((number + 0.5) / len(data.sources) - 0.5)
                    drawing.point(axes, x + shift, found, marks[source])
                    limits += drawing.ends([found])
        drawing.against_baseline(axes, data, target, measure, limits)
        axes.set_xticks(range(len(methods)), [method_label(m) for m in methods])
        axes.set_xlim(-0.5, len(methods) - 0.5)
        return target_label(target)

    width = max(2.6, 0.9 + 0.24 * len(data.sources) * len(data.methods))
    size = max(4.4, 0.4 + width * len(targets)), 0.3 + 2.5 * len(measures)
    return measure_grid(measures, targets, size, draw, drawing.source_handles(data))


WORDS = {
    1: "the choice of text moves it more",
    -1: "the choice of method moves it more",
    0: "which moves it more is open",
}


def methods_caption(data: StudyResults, decisions: Decisions) -> str:
    """What Figure 1 shows: both ranges, with their intervals, for each outcome and target."""
    sentences = [
        f"Means over sets, bars one standard deviation. Dashed: {baseline_words(data.cells)}, which uses no data."
    ]
    for target in data.targets:
        for measure in data.headline:
            found = effects(data, target, measure)
            if found.text is None or found.method is None:
                continue
            answer = data_against_method(Scope(data, measure), target)
            side = decisions.single(answer.contrasts[0]).side if answer and answer.contrasts else 0
            unit = measure.unit_of_scores
            sentences.append(
                f"At {target_label(target)}, in {measure.name}, the means of {found.text.groups} texts differ by "
                f"up to {ranged(found.text, unit)}, those of {found.method.groups} methods by up to "
                f"{ranged(found.method, unit)}; {WORDS[side]}."
            )
    return " ".join(sentences)


def methods_drawing(name: str, data: StudyResults, decisions: Decisions) -> Drawing:
    """The figure with its data and words."""
    return Drawing(
        name,
        methods_figure(data),
        estimates_frame(data, data.headline, data.main_cells),
        "Methods and calibration text" if kind_of(data.targets) == "target" else "Pruning methods and calibration text",
        methods_caption(data, decisions),
        f"Dot plot: a group of points per method, a point per source, a panel per {kind_of(data.targets)} and outcome.",
    )
