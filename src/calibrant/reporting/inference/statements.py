"""Sentences about the results, made of the conclusions and never saying more than they carry."""

import polars as pl

from calibrant.reporting.inference.answers import FAILS, HOLDS, UNDECIDED
from calibrant.reporting.inference.conclusions import Judged, Judgement
from calibrant.reporting.inference.contrasts import set_values
from calibrant.reporting.inference.generated_claims import gains
from calibrant.reporting.inference.observations import (
    Statement,
    against_baseline,
    at_chance,
    predictability,
    pruned_at_chance,
)
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.words import interval, of_measure, shown, with_unit
from calibrant.reporting.results.cells import Cell, method_label, targets_told
from calibrant.reporting.results.numbers import listed, p_told


def found(judged: Judged) -> list[Statement]:
    """What a study found, in at most three statements: its own text or real text, which real text, which method."""
    first = main_gain(judged)
    said = []
    if first is not None:
        tested = first.answer.shown is not None
        said.append(generated_or_real(judged.scope, first) if tested else not_tested(first))
    said += [which_text(judged.scope, j) for j in judged.own if j.claim.name.startswith("alike real")][:1]
    methods = methods_by_target(judged)
    main = judged.scope.target("0.6")
    if main in methods:
        said.append(methods_compared(judged.scope, methods[main]))
    elif main is not None and (counted := against_baseline(judged.scope.data, main)) is not None:
        said.append(counted)
    return said


def main_gain(judged: Judged) -> Judgement | None:
    """Whether self-generated text is better on average: the paper's conclusion, or else the study's own comparison.

    The paper's is about pruning, and is not tested without it; a study of widths alone has its own at its main target.
    """
    by_name = {j.claim.name: j for j in (*judged.claims, *judged.own)}
    paper = by_name.get("generated_beats_real")
    own = by_name.get(f"gain {judged.scope.outcome.key} {judged.scope.target('0.6')}")
    tested = [j for j in (paper, own) if j is not None and j.answer.shown is not None]
    return tested[0] if tested else paper


def not_tested(judgement: Judgement) -> Statement:
    """Why a study says nothing of self-generated against real text."""
    return Statement(
        "These runs do not test whether text that the model writes itself calibrates better than real text: "
        f"{judgement.reason}."
    )


def methods_by_target(judged: Judged) -> dict[str | None, list[Judgement]]:
    """The comparisons of methods, by target."""
    found_: dict[str | None, list[Judgement]] = {}
    for j in judged.own:
        if j.claim.name.startswith("method") and j.answer.shown:
            found_.setdefault(j.answer.shown.cells[0].target, []).append(j)
    return found_


def further(judged: Judged, scores: pl.DataFrame) -> list[Statement]:
    """The study's other comparisons, then what its texts and tasks are like."""
    data = judged.scope.data
    told = main_gain(judged)
    others = [j for j in judged.own if j.claim.name.startswith("gain") and j.answer.shown and j is not told]
    said = [generated_or_real(judged.scope, j) for j in others]
    main, methods = judged.scope.target("0.6"), methods_by_target(judged)
    said += [methods_compared(judged.scope, js) for s, js in methods.items() if s != main]
    # Where no methods are compared at the main target, `found` has its count already.
    rest = [s for s in reversed(data.targets) if s != main or main in methods]
    said += [counted for s in rest if (counted := against_baseline(data, s))]
    said += [s for s in (predictability(data, scores), at_chance(data)) if s]
    return said + pruned_at_chance(data)


def where(cells: tuple[Cell, ...]) -> str:
    """`At 60 % sparsity (Wanda and OWL)`."""
    methods = listed([method_label(m) for m in dict.fromkeys(c.method for c in cells)])
    return f"At {targets_told(list(dict.fromkeys(c.target for c in cells)))} ({methods})"


def generated_or_real(scope: Scope, judgement: Judgement) -> Statement:
    """Whether text that the model wrote itself is better than the real text that it continues."""
    contrast = judgement.answer.shown
    assert contrast is not None
    measure = scope.measure_of(contrast)
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
    pairs = [c for m in methods for c in gains(here, contrast.cells[0].target, m).values()]
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
    target = shown_one.cells[0].target
    models = scope.models(target)
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
    """Each method against the baseline at one target, on the same sets, sources as the observations."""
    contrasts = [(j, j.answer.shown) for j in judgements if j.answer.shown]
    first = contrasts[0][1]
    baseline = method_label(first.cells[1].method)
    words = {HOLDS: "better than", FAILS: "worse than", UNDECIDED: "not told apart from"}
    parts = [f"{method_label(c.cells[0].method)} is {words[j.verdict]} {baseline}" for j, c in contrasts]
    details = "; ".join(f"{method_label(c.cells[0].method)} {shown(c)}{_after(j)}" for j, c in contrasts)
    return Statement(
        f"At {targets_told([first.cells[0].target])}, on the same calibration sets, {listed(parts)}, in "
        f"{scope.measure_of(first).name}.",
        f"Minus {baseline}: {details}. Each source is one observation, since sets of one source go together.",
    )
