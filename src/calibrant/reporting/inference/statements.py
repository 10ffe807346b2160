"""Sentences about the results, made of the conclusions and never saying more than they carry."""

import math
from dataclasses import dataclass

import polars as pl

from calibrant.reporting.inference.answers import FAILS, HOLDS, UNDECIDED
from calibrant.reporting.inference.conclusions import Judged, Judgement
from calibrant.reporting.inference.contrasts import Contrast, set_values
from calibrant.reporting.inference.generated_claims import gains
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.words import interval, of_measure, shown, with_unit
from calibrant.reporting.results.cells import DENSE, Cell, method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import listed, number, p_told
from calibrant.reporting.results.samples import median
from calibrant.reporting.results.study_results import StudyResults


@dataclass(frozen=True)
class Statement:
    """A sentence and what qualifies it."""

    text: str
    hedge: str = ""


def found(judged: Judged) -> list[Statement]:
    """What a study found, in at most three statements: its own text or real text, which real text, which method."""
    by_name = {j.claim.name: j for j in (*judged.claims, *judged.own)}
    first = by_name.get("generated_beats_real")
    said = []
    if first is not None:
        tested = first.answer.shown is not None
        said.append(generated_or_real(judged.scope, first) if tested else not_tested(first))
    said += [which_text(judged.scope, j) for j in judged.own if j.claim.name.startswith("alike real")][:1]
    methods = methods_by_sparsity(judged)
    main = judged.scope.sparsity("0.6")
    if main in methods:
        said.append(methods_compared(judged.scope, methods[main]))
    elif main is not None and (counted := against_magnitude(judged.scope.data, main)) is not None:
        said.append(counted)
    return said


def not_tested(judgement: Judgement) -> Statement:
    """Why a study says nothing of self-generated against real text."""
    return Statement(
        "These runs do not test whether text that the model writes itself calibrates better than real text: "
        f"{judgement.reason}."
    )


def methods_by_sparsity(judged: Judged) -> dict[str | None, list[Judgement]]:
    """The comparisons of methods, by sparsity."""
    found_: dict[str | None, list[Judgement]] = {}
    for j in judged.own:
        if j.claim.name.startswith("method") and j.answer.shown:
            found_.setdefault(j.answer.shown.cells[0].sparsity, []).append(j)
    return found_


def further(judged: Judged, scores: pl.DataFrame) -> list[Statement]:
    """The study's other comparisons, then what its texts and tasks are like."""
    data = judged.scope.data
    said = [
        generated_or_real(judged.scope, j) for j in judged.own if j.claim.name.startswith("gain") and j.answer.shown
    ]
    main = judged.scope.sparsity("0.6")
    said += [methods_compared(judged.scope, js) for s, js in methods_by_sparsity(judged).items() if s != main]
    above = found(judged)
    counts = [s for sparsity in reversed(data.sparsities) if (s := against_magnitude(data, sparsity))]
    said += [s for s in counts if s not in above]
    said += [s for s in (predictability(data, scores), at_chance(data)) if s]
    return said + pruned_at_chance(data)


def where(cells: tuple[Cell, ...]) -> str:
    """`At 60 % sparsity (Wanda and OWL)`."""
    methods = listed([method_label(m) for m in dict.fromkeys(c.method for c in cells)])
    sparsities = listed([sparsity_label(s) for s in dict.fromkeys(c.sparsity for c in cells)])
    return f"At {sparsities} sparsity ({methods})"


def generated_or_real(scope: Scope, judgement: Judgement) -> Statement:
    """Whether text that the model wrote itself is better than the real text that it continues."""
    contrast = judgement.answer.shown
    assert contrast is not None
    measure = measure_of(scope, contrast)
    place, side = where(contrast.cells), {HOLDS: "better", FAILS: "worse"}.get(judgement.verdict)
    sources = len({c.source for c in contrast.cells})
    over = f"averaged over these {sources} sources" if sources > 1 else "on the one source of the study"
    p = _after(judgement)
    if side:
        size = of_measure(contrast.estimate.mean, measure)
        text = (
            f"{place}, text that the model wrote itself calibrates {side} than the real text that it continues: by "
            f"{size}, {over}."
        )
    else:
        text = (
            f"{place}, these runs do not settle whether text that the model wrote itself calibrates better than the "
            "real "
            f"text that it continues, in {measure.name}."
        )
    said = [f"Difference, {over} (positive: self-generated is better): {shown(contrast)}{p}."]
    here = Scope(scope.data, measure)
    methods = dict.fromkeys(c.method for c in contrast.cells)
    pairs = [c for m in methods for c in gains(here, contrast.cells[0].sparsity, m).values()]
    if len(pairs) > 1:
        better = sum(c.estimate.mean > 0 for c in pairs)
        noun = "sources" if len(methods) == 1 else "pairs of source and method"
        said.append(f"The mean difference is positive for {better} of {len(pairs)} {noun}.")
    if contrast.reach is not None and contrast.reach.low is not None:
        said.append(f"Of the mean over sources like these: {interval(contrast.reach, contrast.unit)}.")
    if judgement.verdict == UNDECIDED:
        said.append(_sentence(judgement.would_decide))
    return Statement(text, " ".join(filter(None, said)))


def _after(judgement: Judgement) -> str:
    return "" if judgement.p_holm is None else f", {p_told(judgement.p_holm)} after Holm's correction"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def which_text(scope: Scope, judgement: Judgement) -> Statement:
    """Whether it matters which real text is taken."""
    shown_one = judgement.answer.shown
    if shown_one is None:
        return Statement(f"Whether it matters which real text is taken was not tested: {judgement.reason}.")
    data = scope.data
    sparsity = shown_one.cells[0].sparsity
    models = scope.models(sparsity)
    texts = scope.texts(models, "real")
    means = {
        s: (lambda v: sum(v) / len(v))(list(set_values(data, scope.outcome, models, t).values()))
        for s, t in texts.items()
    }
    best, worst = max(means, key=lambda s: means[s]), min(means, key=lambda s: means[s])
    gap = of_measure(means[best] - means[worst], scope.outcome)
    best_label, worst_label = data.source_label(best), data.source_label(worst)
    ends = f"the largest difference is {gap}, between {best_label} and {worst_label}"
    at = where(shown_one.cells)
    margin = "" if judgement.answer.margin is None else with_unit(judgement.answer.margin, shown_one.unit, signed=False)
    limit = f"what two sets of one text commonly differ by ({margin})"
    if judgement.verdict == HOLDS:
        return Statement(
            f"{at}, it hardly matters which of these {len(means)} real texts is taken: all lie within {limit}; {ends}."
        )
    if judgement.verdict == FAILS:
        return Statement(
            f"{at}, it matters which real text is taken: {shown_one.label} is {shown(shown_one)}, more than {limit}; "
            f"{ends}."
        )
    more = f" {_sentence(judgement.would_decide)}" if judgement.would_decide else ""
    return Statement(
        f"{at}, these runs do not settle whether it matters which of these {len(means)} real texts is taken: {ends}.",
        f"Some difference is always the largest. Texts count as alike if they differ by less than {limit}.{more}",
    )


def methods_compared(scope: Scope, judgements: list[Judgement]) -> Statement:
    """Each method against the baseline at one sparsity, on the same sets, sources as the observations."""
    contrasts = [(j, j.answer.shown) for j in judgements if j.answer.shown]
    first = contrasts[0][1]
    baseline = method_label(first.cells[1].method)
    words = {HOLDS: "better than", FAILS: "worse than", UNDECIDED: "not told apart from"}
    parts = [f"{method_label(c.cells[0].method)} is {words[j.verdict]} {baseline}" for j, c in contrasts]
    details = "; ".join(f"{method_label(c.cells[0].method)} {shown(c)}{_after(j)}" for j, c in contrasts)
    return Statement(
        f"At {sparsity_label(first.cells[0].sparsity)} sparsity, on the same calibration sets, {listed(parts)}, in "
        f"{measure_of(scope, first).name}.",
        f"Minus {baseline}: {details}. Each source is one observation, since sets of one source go together.",
    )


def measure_of(scope: Scope, contrast: Contrast) -> Measure:
    """The measure that a contrast is on."""
    return next((m for m in scope.data.measures if m.key == contrast.question.measure), scope.outcome)


def against_magnitude(data: StudyResults, sparsity: str) -> Statement | None:
    """How many calibrated models, of which methods, did better than pruning without data: counts, no test."""
    measure = next(iter(data.outcomes), None)
    reference = list(data.scores(Cell("magnitude", sparsity), measure).values()) if measure else []
    if measure is None or not reference:
        return None
    means: dict[str, list[bool]] = {}
    for cell in data.main_cells:
        scores = list(data.scores(cell, measure).values())
        if cell.sparsity == sparsity and cell.source is not None and scores:
            means.setdefault(cell.method, []).append(sum(scores) / len(scores) > reference[0])
    if not means:
        return None
    counts = ", ".join(f"{sum(won)} of {len(won)} texts with {method_label(m)}" for m, won in means.items())
    level = number(next(iter(data.values(Cell("magnitude", sparsity), measure).values())), measure.decimals)
    return Statement(
        f"At {sparsity_label(sparsity)} sparsity the mean {measure.name} is better than that of magnitude pruning, "
        "which "
        f"uses no text ({level}), for {counts}."
    )


def predictability(data: StudyResults, scores: pl.DataFrame) -> Statement | None:
    """Whether the model finds its own text more predictable than the real text of the same source."""
    rows = []
    for source in data.sources:
        values = [median(scores, source, origin, "perplexity") for origin in ("real", "synthetic")]
        rows.append([v for v in values if v is not None])
    rows = [row for row in rows if len(row) == 2]
    if not rows:
        return None
    lower = sum(generated < real for real, generated in rows)
    ratio = math.exp(sum(math.log(generated / real) for real, generated in rows) / len(rows))
    return Statement(
        f"By medians, self-generated text has lower perplexity under the unpruned model than real text for {lower} of "
        f"{len(rows)} sources (on average {number(ratio, 2)} times that of real text).",
        "Decoding at a low temperature lowers perplexity and raises Min-K%++ by itself; this does not say that the "
        "text is better.",
    )


def at_chance(data: StudyResults) -> Statement | None:
    """Tasks on which the dense model only guesses."""
    said = []
    for measure in data.at_chance:
        dense = list(data.values(DENSE, measure).values())
        if dense and measure.chance is not None:
            value, chance = number(dense[0], measure.decimals), number(100 * measure.chance, 1)
            said.append(f"{measure.label} ({value} % against {chance} %)")
    if not said:
        return None
    return Statement(
        f"The dense model is not above chance by more than two standard errors on {', '.join(said)}.",
        "No differences are read on such a task; the tables show it for completeness.",
    )


def pruned_at_chance(data: StudyResults) -> list[Statement]:
    """Per sparsity, tasks above chance for the dense model on which most pruned models only guess."""
    said = []
    for sparsity in data.sparsities:
        labels = [m.label for m in data.accuracies if m not in data.at_chance and data.mostly_guessing(sparsity, m)]
        if labels:
            said.append(
                Statement(
                    f"At {sparsity_label(sparsity)} sparsity most pruned models are not above chance by more than two "
                    f"standard errors on {', '.join(labels)}.",
                    "No differences are read there; the tables show them.",
                )
            )
    return said


def limitations(data: StudyResults) -> list[str]:
    """What no reader should take the numbers for."""
    said = ["One model was pruned; other models, larger ones above all, may behave differently."]
    if not any(len(data.items(c, m)) > 1 for c in data.cells if c.source is not None for m in data.outcomes):
        said.append("One set of each text: no interval can be given, and any difference may be the luck of the draw.")
    said.append(
        "Intervals cover the draw of the calibration set. They do not cover the choice of evaluation items, the draw "
        "of the sources, or another run of generation: generated text was drawn once for each source."
    )
    if (note := shared_note(data)) is not None:
        said.append(note)
    if len(data.sources) > 1:
        said.append(
            f"Verdicts speak of these {len(data.sources)} sources, which someone chose. What they say of other "
            "sources is "
            "a second interval, where one is given, and never a verdict."
        )
    return said


def shared_note(data: StudyResults) -> str | None:
    """By how much sets that share rows scatter less than independent ones; None where none do."""
    found = {text: share for text, share in data.shared.items() if share > 0.005}
    if not found:
        return None
    low, high = (math.sqrt(1 - f(found.values())) for f in (max, min))
    factor = number(low, 2) if number(low, 2) == number(high, 2) else f"{number(low, 2)} to {number(high, 2)}"
    return (
        f"Sets of {len(found)} of {len(data.shared)} texts share rows: the spread between their seeds, and intervals "
        f"with it, is {factor} times that of independent sets."
    )
