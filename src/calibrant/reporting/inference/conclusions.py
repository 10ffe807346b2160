"""The paper's conclusions, one line each, and how a study's runs judge them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from calibrant.reporting.inference import amount_claims as amount
from calibrant.reporting.inference import generated_claims as generated
from calibrant.reporting.inference import setting_claims as generation_claims
from calibrant.reporting.inference import source_claims as sources
from calibrant.reporting.inference import spread_claims as spread
from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.evidence import Evidence, gather
from calibrant.reporting.inference.statistics import ALPHA, Estimate
from calibrant.reporting.inference.verdict import FAILS, HOLDS, UNDECIDED, Answer, without
from calibrant.reporting.results import published
from calibrant.reporting.results.cells import Cell, method_label, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults


@dataclass(frozen=True)
class Claim:
    """A conclusion of the paper.

    Attributes:
        name: key.
        statement: the conclusion in words; numbers only where they are settings.
        section: where the paper draws it.
        answer: what the runs of a study say.
        numbers: the published numbers behind it, by their id in `published.numbers`.
        from_scores: whether it is read from the texts' scores and not from pruned models.
    """

    name: str
    statement: str
    section: str
    answer: Callable[[Evidence], Answer]
    numbers: tuple[str, ...] = ()
    from_scores: bool = False


CLAIMS: tuple[Claim, ...] = (
    Claim("spread_small_below_half", "Below 50 % sparsity the source hardly matters", "3.2",
          spread.small_below_half, ("spread_below_50",)),
    Claim("spread_grows_with_sparsity", "Sources differ more at higher sparsity", "3.2",
          spread.grows_with_sparsity, ("spread_50", "spread_60")),
    Claim("spread_grows_with_structure", "Sources differ more in stricter patterns", "3.2",
          spread.grows_with_structure, ("spread_50", "spread_structured")),
    Claim("some_sources_below_magnitude", "Some sources do worse than magnitude pruning", "3.2",
          spread.below_magnitude),
    Claim("data_outweighs_method", "The choice of data can outweigh the choice of method", "1",
          spread.data_outweighs_method),
    Claim("amount_does_not_matter", "Beyond 128 samples the amount does not matter", "3.3",
          amount.does_not_matter, ("amount_fluctuation",)),
    Claim("amount_does_not_close_gaps", "More samples do not close the gap between sources", "3.3",
          amount.does_not_close_gaps),
    Claim("deviation_falls_with_amount", "The deviation between seeds falls with more samples", "3.3",
          amount.deviation_falls),
    Claim("similarity_ranks_sources", "The more like the training data, the better the source", "3.4",
          sources.similarity_ranks, ("jaccard_c4", "jaccard_slimpajama", "jaccard_wikipedia")),
    Claim("quality_does_not_rank", "High quality (Wikipedia) does not make a good source", "3.4",
          sources.quality_does_not_rank, ("wikipedia_behind_dclm",)),
    Claim("generated_beats_every_source", "Self-generated text beats its source, for each source and method", "5.2",
          generated.beats_every_source),
    Claim("generated_beats_real", "Self-generated text beats real text on average", "5.2",
          generated.beats_real_on_average),
    Claim("generated_beats_training_data", "Self-generated text beats real training data", "5.2",
          generated.beats_training_data, ("gain_over_training",)),
    Claim("alike_whatever_source", "Self-generated text does alike, whatever source it continues", "5.2",
          generated.alike_whatever_source),
    Claim("gain_in_patterns", "Self-generated text beats real text in both N:M patterns", "6.1",
          generated.gain_in_patterns, ("gain_patterns",)),
    Claim("any_prefix_beats_real", "With a prefix of any length it beats real text", "6.2",
          generation_claims.any_prefix_beats_real),
    Claim("short_prefixes_beat_long", "Prefixes of 1 to 4 tokens beat longer ones", "6.2",
          generation_claims.short_prefixes_beat_long),
    Claim("unfiltered_beats_real", "Without filtering it still beats real text", "6.3",
          generation_claims.unfiltered_beats_real),
    Claim("modest_filtering_helps", "Dropping 10 to 20 % beats dropping nothing", "6.3",
          generation_claims.modest_filtering_helps),
    Claim("more_filtering_hurts", "Dropping 10 to 20 % beats dropping more", "6.3",
          generation_claims.more_filtering_hurts),
    Claim("generated_has_higher_min_k", "Self-generated text has higher Min-K%++ than real text", "6.4",
          generated.higher_min_k, from_scores=True),
)  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """A claim and what one study says about it.

    Attributes:
        claim: which.
        verdict: holds, does not hold, or undecided.
        estimate: the deciding difference with its 95 % interval, None where nothing could be tested.
        unit: of the estimate.
        label: which difference it is.
        test: where its interval comes from.
        rule: what had to hold.
        reason: why the claim is undecided; empty otherwise.
        p, p_holm: of the side that the runs speak for, before and after Holm's correction over all tested claims.
        paper: the paper's numbers; empty for models other than the paper's.
        runs: the runs behind the answer, in words.
    """

    claim: Claim
    verdict: str
    estimate: Estimate | None
    unit: str
    label: str
    test: str
    rule: str
    reason: str
    p: float | None
    p_holm: float | None
    paper: str
    runs: str


def judge(evidence: Evidence, model_id: str, claims: Sequence[Claim] = CLAIMS) -> list[Judgement]:
    """Judge every claim, each in its place.

    A verdict is given where the p-value of its side is below 0.05 after Holm's correction over the tested claims; its
    95 % interval then lies where the rule says. Everything else is undecided, with the reason.

    Args:
        evidence: the runs of one study (`evidence.gather`).
        model_id: the pruned model; the paper's numbers are shown for its own models only.
        claims: which ones; Holm's correction is over these.
    """
    answers = [_readable(evidence, claim, claim.answer(evidence)) for claim in claims]
    corrected = statistics.holm([answer.p for answer in answers])
    tested = sum(answer.p is not None for answer in answers)
    return [
        _judgement(evidence, claim, answer, p, tested, model_id)
        for claim, answer, p in zip(claims, answers, corrected, strict=True)
    ]


def _readable(evidence: Evidence, claim: Claim, answer: Answer) -> Answer:
    """No answer where the models behind it, or the dense model, only guess."""
    if claim.from_scores or answer.p is None:
        return answer
    what = evidence.outcome.name
    if evidence.dense_guesses:
        return without(f"the dense model only guesses: {what}")
    if 2 * len(evidence.guessing & set(answer.used)) > len(answer.used):
        return without(f"most of these pruned models only guess: {what}")
    return answer


def _judgement(
    evidence: Evidence, claim: Claim, answer: Answer, p_holm: float | None, tested: int, model_id: str
) -> Judgement:
    verdict = answer.side if p_holm is not None and p_holm < ALPHA else UNDECIDED
    shown = answer.shown
    return Judgement(
        claim=claim,
        verdict=verdict,
        estimate=None if shown is None else shown.estimate,
        unit=answer.unit or evidence.outcome.unit_of_scores,
        label="" if shown is None else shown.label,
        test="" if shown is None else shown.test,
        rule=answer.rule,
        reason="" if verdict != UNDECIDED else answer.reason or _why(answer, tested),
        p=answer.p,
        p_holm=p_holm,
        paper=paper_numbers(claim, model_id) if evidence.outcome.kind == "average" or claim.from_scores else "",
        runs=runs_in_words(evidence, answer.used),
    )


def _why(answer: Answer, tested: int) -> str:
    if answer.p is not None and answer.p < ALPHA:
        return f"not below {ALPHA} after Holm's correction over {tested} claims"
    if answer.contrasts == 1:
        return "the interval leaves both open"
    return f"the intervals of {answer.contrasts} differences, corrected for their number, leave both open"


def paper_numbers(claim: Claim, model_id: str) -> str:
    """What the paper found for this very model; empty for a model that it does not prune."""
    model, told = published.canonical(model_id), []
    if not published.has_published(model):
        return ""
    for row in published.numbers().filter(pl.col("model") == model).iter_rows(named=True):
        if row["id"] in claim.numbers:
            ends = [f"{x:.4g}" for x in dict.fromkeys((row["low"], row["high"])) if x is not None]
            less = "< " if row["low"] is None else ""
            told.append(f"{less}{' to '.join(ends)} {row['unit']}: {row['quantity']}")
    changes = published.published_for(model_id).filter(pl.col("task") == "change")["mean"].to_list()
    if claim.name.startswith("generated_beats_") and changes and not told:
        told.append(f"{min(changes):+.2f} to {max(changes):+.2f} points, {len(changes)} pairs")
    return "; ".join(told)


def runs_in_words(evidence: Evidence, used: Sequence[Cell]) -> str:
    """`16 models: Wanda; 60 %; 4 real and 4 self-generated texts; 2 seeds`."""
    if not used:
        return ""
    models = sum(len(evidence.cells[cell]) for cell in used)
    methods = ", ".join(dict.fromkeys(method_label(c.method) for c in used))
    sparsities = ", ".join(dict.fromkeys(sparsity_label(c.sparsity) for c in used))
    counts = {
        word: len({c.source for c in used if c.origin == origin})
        for origin, word in (("real", "real"), ("synthetic", "self-generated"))
    }
    texts = [f"{n} {word}" for word, n in counts.items() if n]
    noun = "text" if [n for n in counts.values() if n][-1:] == [1] else "texts"
    seeds = sorted({len(evidence.cells[cell]) for cell in used})
    word = "seed" if seeds == [1] else "seeds"
    several = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"{models} models: {methods}; {sparsities}; {' and '.join(texts)} {noun}; {several} {word}"


@dataclass(frozen=True)
class Judged:
    """All claims judged by one study, and the outcome that they are read from."""

    judgements: list[Judgement]
    outcome: Measure


def gather_and_judge(
    data: StudyResults, scores: pl.DataFrame | None = None, similarity: pl.DataFrame | None = None
) -> Judged | None:
    """Judge all claims; None for a study without any measure. Arguments as in `gather`."""
    evidence = gather(data, scores=scores, similarity=similarity)
    return None if evidence is None else Judged(judge(evidence, data.study.model_id), evidence.outcome)


def verdicts(judgements: Sequence[Judgement]) -> str:
    """How many conclusions hold, do not hold, are undecided and could not be tested, in a sentence."""
    held, failed = (sum(j.verdict == verdict for j in judgements) for verdict in (HOLDS, FAILS))
    untested = sum(j.p is None for j in judgements)
    left = len(judgements) - held - failed - untested
    hold, fail = ("holds" if held == 1 else "hold"), ("does" if failed == 1 else "do")
    are = "is" if left == 1 else "are"
    return (
        f"Of the paper's {len(judgements)} conclusions {held} {hold} in these runs and {failed} {fail} not; "
        f"{left} {are} tested and undecided, and {untested} could not be tested."
    )
