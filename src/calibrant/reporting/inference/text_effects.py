"""How much the choice of text moves a model at each target, beside the luck of the draw: one test, one decision.

At a target and a method the means of the texts are compared by their range, largest minus smallest, on the scale of
scores (per cent of the loss, so that mild and severe targets compare). It is tested against no difference between any
two texts, by the studentized range; all pairs of target and method are one family under Holm's correction. The figure,
the table and the sentences about targets show these decisions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.cell_estimates import cell_estimate
from calibrant.reporting.inference.contrasts import Contrast, Question, readable
from calibrant.reporting.inference.decisions import Decided, Decisions
from calibrant.reporting.inference.ranges import Range, value_range
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import Cell, Text, baseline_cell, run_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.outcome import text_measure
from calibrant.reporting.results.study_results import StudyResults

Place = tuple[str, str]  # target, method


@dataclass(frozen=True)
class TextEffect:
    """What the choice of text does at one target with one method.

    Attributes:
        means: of each text over its sets, in the measure's own unit.
        mean: of the texts, each counting the same.
        moved: the range of the texts' mean scores, in per cent, with its deviation between sets of one text.
        lowest, highest: the texts with the least and the largest loss.
        decided: whether the texts differ, after correction over all targets and methods.
    """

    means: Mapping[Text, Estimate]
    mean: Estimate
    moved: Range
    lowest: Text
    highest: Text
    decided: Decided

    @property
    def tested(self) -> bool:
        """Whether there was a test: it takes two sets of a text."""
        return self.decided.p_holm is not None

    @property
    def differs(self) -> bool:
        """Whether the texts differ: the one rule that every figure, table and sentence goes by."""
        return self.decided.side != 0


@dataclass(frozen=True)
class TextEffects:
    """The effects of a study, by target and method; `targets` from the mildest to the most severe.

    Targets of all kinds have one order: the mean loss over the texts, with the method that does best.

    Attributes:
        measure: the loss: divergence from the dense model, or perplexity.
        targets: in that order.
        effects: of each target and method with two texts.
        plain: the loss of the method that reads no text, by target, where it was run.
    """

    measure: Measure
    targets: list[str]
    effects: Mapping[Place, TextEffect]
    plain: Mapping[str, Estimate]

    def at(self, target: str) -> dict[str, TextEffect]:
        """The effects at a target, by method."""
        return {method: effect for (at, method), effect in self.effects.items() if at == target}

    @property
    def tests(self) -> int:
        """The size of the family."""
        return sum(effect.tested for effect in self.effects.values())


def text_effects(data: StudyResults, decisions: Decisions) -> TextEffects | None:
    """The effects of the choice of text; None where fewer than two targets have two texts to choose from."""
    measure = text_measure(data)
    if measure is None:
        return None
    cells = {place: _cells(data, measure, *place) for place in data.combinations()}
    ranges = {place: _range(data, measure, found) for place, found in cells.items()}
    known = {place: moved for place, moved in ranges.items() if moved is not None}
    decided = decisions.family(
        {place: _contrast(data, measure, place, moved, cells[place]) for place, moved in known.items()}
    )
    effects = {place: _effect(data, measure, cells[place], moved, decided[place]) for place, moved in known.items()}
    damage: dict[str, float] = {}
    for (target, _), effect in effects.items():
        damage[target] = min(effect.mean.mean, damage.get(target, effect.mean.mean))
    if len(damage) < 2:
        return None
    plain = {target: cell_estimate(data, baseline_cell(target), measure) for target in damage}
    return TextEffects(
        measure, sorted(damage, key=lambda t: damage[t]), effects, {t: e for t, e in plain.items() if e is not None}
    )


def _cells(data: StudyResults, measure: Measure, target: str, method: str) -> dict[str, Cell]:
    """The cells of the texts of a target and method in the main setting, by a name that tells them apart."""
    cells = [data.at(method, target, source, origin) for source in data.sources for origin in data.origins]
    return {f"{cell.source} {cell.origin}": cell for cell in cells if data.items(cell, measure)}


def _range(data: StudyResults, measure: Measure, cells: Mapping[str, Cell]) -> Range | None:
    """The range of scores; None with fewer than two texts, or where a loss of zero has no logarithm."""
    if any(item.value <= 0 for cell in cells.values() for item in data.items(cell, measure).values()):
        return None
    return value_range({name: list(data.scores(cell, measure).values()) for name, cell in cells.items()})


def _contrast(data: StudyResults, measure: Measure, place: Place, moved: Range, cells: Mapping[str, Cell]) -> Contrast:
    """The range as a question, which a page decides once."""
    target, method = place
    used = tuple(cells.values())
    sets = min(len(data.items(cell, measure)) for cell in used)
    found = Estimate(
        moved.value, None, sum(len(data.items(cell, measure)) for cell in used), moved.low, moved.high, moved.p
    )
    question = Question(measure.key, ((("range", f"{method} {target}"), 1.0),), tuple((c.text, 1.0) for c in used))
    told = f"studentized range over {sets} sets of each of {len(used)} texts"
    label = f"range of the texts, {run_label(method, target)}"
    return Contrast(
        label, found, measure.unit_of_scores, told, sets, question, used, readable=readable(data, measure, used)
    )


def _effect(
    data: StudyResults, measure: Measure, cells: Mapping[str, Cell], moved: Range, decided: Decided
) -> TextEffect:
    means = {cell.text: found for cell in cells.values() if (found := cell_estimate(data, cell, measure)) is not None}
    groups = [list(data.values(cell, measure).values()) for cell in cells.values()]
    mean = statistics.combination(groups, [1 / len(groups)] * len(groups))
    # Scores are better when higher: the text of the lowest score has the largest loss.
    return TextEffect(means, mean, moved, cells[moved.highest].text, cells[moved.lowest].text, decided)
