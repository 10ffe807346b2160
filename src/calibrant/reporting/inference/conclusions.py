"""The paper's conclusions and a study's own comparisons, one row each, judged together by the study's runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from calibrant.reporting.inference import generated_claims as generated
from calibrant.reporting.inference import source_claims as source
from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.amount_claims import LOG_RATIO
from calibrant.reporting.inference.answers import UNDECIDED, Answer, every, without
from calibrant.reporting.inference.claims import CLAIMS, Claim
from calibrant.reporting.inference.power import POWER, power, sets_needed
from calibrant.reporting.inference.scope import Scope, effect_of, to_training
from calibrant.reporting.inference.statistics import ALPHA
from calibrant.reporting.results.cells import method_label, target_label
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.outcome import choose_outcome
from calibrant.reporting.results.study_results import StudyResults

NO_PRUNING = "the paper's conclusions are about pruning, and no target of this study is a sparsity alone"
BASELINE = "wanda"  # what other methods are compared with, where the study has it


@dataclass(frozen=True)
class Judgement:
    """A claim and what one study says about it.

    Attributes:
        claim: which.
        answer: the contrasts and the rule.
        verdict: holds, does not hold, or undecided.
        p_holm: of the side that the runs speak for, after Holm's correction over all tested rows.
        reason: why the claim is undecided; empty otherwise.
        would_decide: for a tested, undecided claim, the power that the study had and what would decide it.
    """

    claim: Claim
    answer: Answer
    verdict: str
    p_holm: float | None
    reason: str = ""
    would_decide: str = ""


@dataclass(frozen=True)
class Judged:
    """The paper's conclusions and the study's own comparisons: one family of tests, each question once.

    Attributes:
        scope: what they were read from.
        claims: the paper's conclusions, each in its place.
        own: the study's own comparisons that none of these is.
    """

    scope: Scope
    claims: list[Judgement]
    own: list[Judgement]

    @property
    def tested(self) -> int:
        """The size of the family."""
        return sum(j.answer.p is not None for j in (*self.claims, *self.own))


def judge_study(
    data: StudyResults,
    scores: pl.DataFrame | None = None,
    similarity: pl.DataFrame | None = None,
    *,
    outcome: str | None = None,
    claims: Sequence[Claim] = CLAIMS,
    own: bool = True,
) -> Judged | None:
    """Judge all claims; None for a study without any measure.

    A verdict is given where the p-value of its side is below 0.05 after Holm's correction over the tested rows; its
    95 % interval then lies where the rule says. Everything else is undecided, with the reason.

    Args:
        data: the study's results; samples, prefix length and filter rate may vary.
        scores: Min-K%++ of the texts, with the columns of `samples.SCORES`.
        similarity: rows of `calibrant similarity` (`scoring.corpus_similarity.SCHEMA`).
        outcome: what claims are read from (`outcome.choose_outcome`).
        claims: which ones.
        own: whether the study's own comparisons are members of the family.

    Raises:
        InputError: the study has no such outcome.
    """
    chosen = choose_outcome(data, outcome)
    if chosen is None:
        return None
    known = {} if scores is None else {"scores": scores}
    scope = Scope(data, chosen, similarity=to_training(similarity, data.study.trained_on), **known)
    answers = [(claim, _answer(scope, claim)) for claim in claims]
    asked = {c.question for _, answer in answers for c in answer.contrasts if len(answer.contrasts) == 1}
    if own:
        for claim in own_comparisons(scope):
            answer = _readable(scope, claim, claim.answer(scope))
            questions = {c.question for c in answer.contrasts}
            if answer.p is not None and not questions <= asked:
                asked |= questions if len(questions) == 1 else set()
                answers.append((claim, answer))
    corrected = statistics.holm([answer.p for _, answer in answers])
    tested = sum(p is not None for p in corrected)
    judged = [_judgement(scope, claim, a, p, tested) for (claim, a), p in zip(answers, corrected, strict=True)]
    return Judged(scope, judged[: len(claims)], judged[len(claims) :])


def own_comparisons(scope: Scope) -> list[Claim]:
    """Real texts among each other, self-generated against real text on each outcome, methods against the baseline."""
    found = []
    if (main := scope.target("0.6")) is not None:
        statement = f"Real texts are alike at {target_label(main)}, in {scope.outcome.name}"
        found.append(_own("alike real", statement, lambda _: source.pairs_alike(scope, main, "real")))
    for measure in scope.data.outcomes:
        here = Scope(scope.data, measure)
        for target in reversed(here.targets):
            where = f"at {target_label(target)}, in {measure.name}"
            found.append(_own(f"gain {measure.key} {target}", f"Self-generated text beats real text {where}",
                              lambda _, h=here, s=target: every([generated.gain(h, s)])))  # fmt: skip
    here = Scope(scope.data, scope.data.outcomes[0] if scope.data.outcomes else scope.outcome)
    for target in reversed(here.targets):
        methods = here.methods_at(target)
        baseline = BASELINE if BASELINE in methods else next(iter(methods), "")
        for method in methods:
            if method != baseline:
                name = f"method {here.outcome.key} {target} {method}"
                beats = f"{method_label(method)} beats {method_label(baseline)}"
                statement = f"{beats} at {target_label(target)}, in {here.outcome.name}"
                found.append(_own(name, statement, lambda _, h=here, s=target, m=method, b=baseline: every(
                    [source.against_baseline(h, s, m, b)])))  # fmt: skip
    return found


def _answer(scope: Scope, claim: Claim) -> Answer:
    if scope.targets and not scope.sparsities and not claim.from_scores:
        return without(NO_PRUNING)
    return _readable(scope, claim, claim.answer(scope))


def _own(name: str, statement: str, answer: Callable[..., Answer]) -> Claim:
    return Claim(name, statement, "", answer)


def _readable(scope: Scope, claim: Claim, answer: Answer) -> Answer:
    """No answer where the models behind it, or the dense model, only guess."""
    unreadable = next((c for c in answer.contrasts if not c.readable), None)
    if claim.from_scores or answer.p is None or unreadable is None:
        return answer
    measure = scope.measure_of(unreadable)
    if scope.data.guesses(measure):
        return without(f"the dense model is not above chance: {measure.name}")
    return without(f"most of these pruned models are not above chance: {measure.name}")


def _judgement(scope: Scope, claim: Claim, answer: Answer, p_holm: float | None, tested: int) -> Judgement:
    verdict = answer.side if p_holm is not None and p_holm < ALPHA else UNDECIDED
    if verdict != UNDECIDED:
        return Judgement(claim, answer, verdict, p_holm)
    reason = answer.reason or _why(answer, tested)
    return Judgement(claim, answer, verdict, p_holm, reason, would_decide(scope, answer, tested))


def _why(answer: Answer, tested: int) -> str:
    if answer.p is not None and answer.p < ALPHA:
        return (
            f"not below {ALPHA} after Holm's correction over {tested} tests (the interval is of this difference alone)"
        )
    if len(answer.contrasts) == 1 and answer.shown is not None and answer.shown.estimate.excludes_zero:
        return "the difference shown is not all that the rule asks for"
    if len(answer.contrasts) == 1:
        return "the interval leaves both open"
    return f"the intervals of {len(answer.contrasts)} differences, corrected for their number, leave both open"


def would_decide(scope: Scope, answer: Answer, tested: int) -> str:
    """The least power that a study had, and the sets of each text that would have 80 %; empty without a test.

    The power to find the smallest difference worth finding; for a claim of equivalence, to hold a true zero within the
    margin. Never that to find the difference that was seen, which only says its p-value again. It is that of the
    verdict: after correction for the tests of the family, and for each of the answer's differences at once.
    """
    shown = answer.shown
    if answer.p is None or shown is None:
        return ""
    estimate, corrected = shown.widest or (shown.estimate, 1)
    if estimate.error is None:
        return ""
    measure = scope.measure_of(shown)
    equal = answer.margin is not None
    effect = answer.margin if answer.margin is not None else effect_of(measure)
    what = f"find {effect:.2g} {shown.unit}"
    if equal:
        within = f"{effect:.2g} {shown.unit}"
        what = (
            f"show a difference of zero to be above −{within}"
            if answer.one_sided
            else f"show it to be within ± {within}"
        )
    if shown.unit == LOG_RATIO:
        effect, what = math.log(2), "find a deviation that is halved"
    each_of, tests = len(answer.contrasts), tested * corrected
    family: Any = {"alike": equal, "margin_df": answer.margin_df, "tests": tests, "each_of": each_of}
    chance = power(estimate, effect, **family)
    needed = sets_needed(estimate, shown.sets, effect, **family)
    if chance is None:
        return ""
    more = f"; {number(needed, 0)} sets of each text suffice for 80 %" if needed and chance < POWER else ""
    each = f" in each of {each_of} differences" if each_of > 1 else ""
    percent = "under 1 %" if chance < 0.01 else f"at least {math.floor(100 * chance)} %"
    return f"power to {what}{each}, after correction: {percent} with {shown.sets} sets{more}"
