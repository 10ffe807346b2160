"""A contrast: one difference that the runs of a study measure, on the scale of scores, with what makes it a question.

Every caption, sentence, mark and verdict shows one of these. Its value is a weighted sum over models of one set
(methods, targets) and over texts. Methods on one set are paired: their scores are combined first, and a set gives
one value. Sets of different texts share nothing and are independent groups, unless they are cut from the same rows
(the same text at other filter rates or numbers of samples): those are paired by seed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from calibrant.reporting.inference.statistics import Estimate, combination, estimate, pooled_deviation
from calibrant.reporting.results.cells import Cell, Text
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import Seeds, StudyResults

Model = tuple[str, str]  # method, target
Models = Mapping[Model, float]
Texts = Mapping[Text, float]
FEWEST_SOURCES = 3  # from fewer nothing is said of sources in general
REPEATABILITY = (
    2.77  # times the deviation between sets: two sets of one text differ by less, 95 times of 100 (ISO 5725)
)


class Question(NamedTuple):
    """What a contrast is about: the same whoever asks, and whichever way round."""

    measure: str
    models: tuple[tuple[Model, float], ...]
    texts: tuple[tuple[Text, float], ...]
    offset: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """A difference of scores: positive where what stands first is better.

    Attributes:
        label: what is compared with what.
        estimate: the difference, with its 95 % interval over sets.
        unit: of the difference.
        replicates: what the interval is over: `Welch t over 5 sets of each text`.
        sets: the smallest number of sets of a text.
        question: what it is about.
        cells: the runs behind it.
        reach: the same with sources as a sample of sources: a second interval, never a verdict.
        widest: of a test that is made of many, the least precise and the number that is corrected for.
        readable: false where the measure is at chance, so that no side may be named.
        turned: whether the question is put the other way round.
    """

    label: str
    estimate: Estimate
    unit: str
    replicates: str
    sets: int
    question: Question
    cells: tuple[Cell, ...] = ()
    reach: Estimate | None = None
    widest: tuple[Estimate, int] | None = None
    readable: bool = True
    turned: bool = False


def over_methods(methods: Sequence[str], target: str) -> dict[Model, float]:
    """The mean of the methods at a target."""
    return {(method, target): 1 / len(methods) for method in methods}


def mean_of(texts: Sequence[Text], sign: float = 1.0) -> dict[Text, float]:
    """The mean of texts."""
    return {text: sign / len(texts) for text in texts}


def set_values(data: StudyResults, measure: Measure, models: Models, text: Text) -> Seeds:
    """The weighted sum of the scores of the models that were made on one set, by seed; only sets that have them all."""
    parts = [(data.scores(text.cell(*model), measure), weight) for model, weight in models.items()]
    seeds = [seed for seed in parts[0][0] if all(seed in scores for scores, _ in parts)]
    return {seed: sum(weight * scores[seed] for scores, weight in parts) for seed in seeds}


def contrast(
    data: StudyResults,
    measure: Measure,
    models: Models,
    texts: Texts,
    label: str,
    *,
    offset: float = 0.0,
    cluster: bool = False,
) -> Contrast | None:
    """The contrast of these models and texts; None where a text has no set with all models.

    Args:
        data: the study.
        measure: what scores measure.
        models: weights of (method, target).
        texts: weights of texts.
        label: what is compared with what.
        offset: added to the estimate, such as the score of a model without data.
        cluster: sets of one source are alike in what is compared (methods): each source's mean is one observation.
    """
    values = {text: set_values(data, measure, models, text) for text in texts}
    if not values or not all(values.values()):
        return None
    if cluster:
        by_source = _by_source(values)
        found = estimate([sum(v) / len(v) for v in by_source.values()])
        told = f"t over {len(by_source)} sources, {sum(map(len, by_source.values()))} sets"
    else:
        groups = _independent(values, texts)
        if groups is None:
            return None
        found = combination([g for g, _ in groups], [w for _, w in groups], offset)
        told = _told(values, paired=len(groups) < len(values))
    cells = tuple(text.cell(*model) for text in texts for model in models)
    question, turned = question_of(measure, models, texts, offset)
    return Contrast(
        label,
        found,
        measure.unit_of_scores,
        told,
        min(map(len, values.values())),
        question,
        cells,
        None if cluster else _reach(values, texts, offset),
        readable=readable(data, measure, cells),
        turned=turned,
    )


def readable(data: StudyResults, measure: Measure, cells: Sequence[Cell]) -> bool:
    """Whether a side may be named: the dense model, and most of these pruned ones, are above chance."""
    return not data.guesses(measure) and 2 * sum(data.is_at_chance(cell, measure) for cell in cells) <= len(cells)


def question_of(measure: Measure, models: Models, texts: Texts, offset: float = 0.0) -> tuple[Question, bool]:
    """The question of a contrast, the same for its opposite, and whether this contrast is the opposite."""
    first = [(m, round(w, 9)) for m, w in sorted(models.items())]
    second = [(t, round(w, 9)) for t, w in sorted(texts.items(), key=lambda item: str(item[0]))]
    turned = (first[0][1] < 0) != (second[0][1] < 0)
    if first[0][1] < 0:
        first = [(m, -w) for m, w in first]
    if second[0][1] < 0:
        second = [(t, -w) for t, w in second]
    return Question(measure.key, tuple(first), tuple(second), round(-offset if turned else offset, 9)), turned


def _independent(values: Mapping[Text, Seeds], texts: Texts) -> list[tuple[list[float], float]] | None:
    """Values and weight of each independent group; None where paired texts share no seed."""
    pools: dict[tuple[str | None, ...], list[Text]] = {}
    for text in values:
        pools.setdefault((text.source, text.origin, str(text.prefix_length)), []).append(text)
    groups: list[tuple[list[float], float]] = []
    for members in pools.values():
        if len(members) == 1:
            groups.append((list(values[members[0]].values()), texts[members[0]]))
            continue
        shared = [s for s in values[members[0]] if all(s in values[text] for text in members)]
        if not shared:
            return None
        groups.append(([sum(texts[text] * values[text][s] for text in members) for s in shared], 1.0))
    return groups


def _by_source(values: Mapping[Text, Seeds]) -> dict[str | None, list[float]]:
    found: dict[str | None, list[float]] = {}
    for text, seeds in values.items():
        found.setdefault(text.source, []).extend(seeds.values())
    return found


def _reach(values: Mapping[Text, Seeds], texts: Texts, offset: float) -> Estimate | None:
    """Each source's own difference as one observation, where every source has its part on both sides."""
    parts: dict[str | None, float] = {}
    sides: dict[str | None, float] = {}
    for text, weight in texts.items():
        seeds = values[text]
        parts[text.source] = parts.get(text.source, 0.0) + weight * sum(seeds.values()) / len(seeds)
        sides[text.source] = sides.get(text.source, 0.0) + weight
    balanced = len({round(side, 9) for side in sides.values()}) == 1 and abs(next(iter(sides.values()))) < 1e-9
    if len(parts) < FEWEST_SOURCES or not balanced or min(len(values[text]) for text in texts) < 2:
        return None
    return estimate([len(parts) * part + offset for part in parts.values()])


def _told(values: Mapping[Text, Seeds], *, paired: bool) -> str:
    counts = sorted({len(seeds) for seeds in values.values()})
    several = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    kind = "paired t" if paired else "t" if len(values) == 1 else "Welch t"
    noun = "set" if counts == [1] else "sets"
    each = f"each of {len(values)} texts" if len(values) > 1 else "one text"
    return f"{kind} over {several} {noun} of {each}"


class Margin(NamedTuple):
    """What is as good as no difference, and the degrees of freedom of the deviation that it is a multiple of."""

    value: float
    df: float = math.inf


def repeatability(data: StudyResults, measure: Measure, models: Models, texts: Sequence[Text]) -> Margin | None:
    """What two sets of one text differ by at most, 95 times of 100; None where no text has two sets that differ.

    The margin of equivalence: texts whose means differ by less than that are alike, since the draw of the set moves
    more. It is the repeatability limit of ISO 5725-1, 1.96 sqrt(2) times the deviation between sets, pooled over texts.
    """
    groups = [list(set_values(data, measure, models, text).values()) for text in texts]
    deviation = pooled_deviation(groups)
    return Margin(REPEATABILITY * deviation, sum(len(g) - 1 for g in groups if g)) if deviation else None
