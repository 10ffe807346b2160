"""What a race says, in sentences: whether it matters at all, what to take, how surely, and what would tell more."""

import math
from collections.abc import Sequence

from calibrant.race.standing import ALIKE, BUDGET, Difference, Standing
from calibrant.settings.race_settings import MEASURE

CONFIDENCE = 95  # per cent
NOTHING = 0.7  # a bound or half an interval beyond this, a factor of two, says nothing yet
WORDS = {"kl": "divergence from the dense model", "agreement": "agreement with the dense model"}
TODAY = " is what is used today."
OPENINGS = {  # the question that a sentence answers -> how it begins
    "alike": "It does not matter",
    "take": "Take ",
    "expected": "On average such a choice",
    "as good": "As good within the margin",
    "reference": "Against ",
    "worse": "Worse: ",
    "out": "Surely not the best",
    "spent": "The budget is spent",
    "more": "Another ",
}


def sentences(
    standing: Standing,
    reference: str | None = None,
    forecasts: dict[int, float] | None = None,
    measure: str = MEASURE,
) -> list[str]:
    """Sentences about a look, the most important first.

    Args:
        standing: what the look found.
        reference: name of the candidate that is used today.
        forecasts: the bound that so many more sets would bring (`standing.forecast`).
        measure: what the race chose by.
    """
    take = f"Take {standing.leader}"
    if standing.reason:
        return [f"{take}: it did best so far. How sure that is cannot be said: {standing.reason}."]
    found = []
    if standing.stopped == ALIKE and len(standing.as_good) == standing.candidates:
        most = worse(standing.indifferent, up=True)
        found.append(f"It does not matter, by at most {most}: whichever you take, no other is more than that better.")
    if standing.bound == 0:
        found.append(f"{take}: with {CONFIDENCE} % confidence nothing tried is better.")
    elif standing.bound > NOTHING:
        found.append(f"{take}: it did best so far. The sets are too few to say how much better another may be.")
    else:
        most = better(standing.bound, up=True)
        of = WORDS.get(measure, measure)
        found.append(f"{take}: with {CONFIDENCE} % confidence nothing tried is more than {most} better in {of}.")
        if standing.expected < standing.bound:
            found.append(
                f"On average such a choice is about {worse(standing.expected)} worse than the best text tried."
            )
    others = [name for name in standing.as_good if name != standing.leader]
    if others:
        found.append(f"As good within the margin: {listed(others)}.")
    if reference == standing.leader:
        found.append(f"{reference}{TODAY}")
    elif standing.gain is not None and reference is not None:
        found.append(_against(reference, standing.gain))
    if standing.worse:
        found.append(f"Worse: {listed(list(standing.worse))}.")
    if out := [name for name in standing.out if name not in standing.worse]:
        found.append(f"Surely not the best, and given no more sets: {listed(out)}.")
    if standing.stopped == BUDGET:
        found.append("The budget is spent.")
    for more, bound in sorted((forecasts or {}).items()):
        found.append(more_sets(more, bound))
    return found


def more_sets(more: int, bound: float) -> str:
    """What so many more sets would bring."""
    return f"Another {more} sets would bring the bound to about {better(bound, up=True)}."


def _against(reference: str, gain: Difference) -> str:
    """Against the reference; nothing is told as a gain whose interval holds zero."""
    if gain.high - gain.low > 2 * NOTHING:
        return f"Against {reference} nothing is known yet."
    if gain.low <= 0 <= gain.high:
        between = f"between {worse(-gain.low)} worse and {better(gain.high)} better"
        return f"Against {reference} no difference is sure: it is {between}."
    return f"Against {reference} it is {better(gain.value)} better ({better(gain.low)} to {better(gain.high)})."


def by_question(said: Sequence[str]) -> dict[str, str]:
    """Sentences of `sentences` by the question that each answers (`OPENINGS`), for who shows them one by one."""
    found = {}
    for sentence in said:
        starts = [question for question, opening in OPENINGS.items() if sentence.startswith(opening)]
        found["reference" if sentence.endswith(TODAY) else starts[0] if starts else sentence] = sentence
    return found


def on_test_half(reference: str, gain: Difference, *, own: bool) -> str:
    """What a handed-over set is worth on the test half, which took no part in choosing it (`handover.value`).

    Args:
        reference: what is used today.
        gain: over the reference's sets.
        own: whether the set is one of the reference's.
    """
    kept = "on text that took no part in the choice"
    other = f"the average set of {reference}" if own else f"{reference}, which is used today"
    if gain.high - gain.low > 2 * NOTHING:
        return f"Nothing can be said against {other}: {kept}, the {CONFIDENCE} % interval is too wide."
    if gain.low <= 0 <= gain.high:
        between = f"between {worse(-gain.low)} worse and {better(gain.high)} better"
        return f"Whether it is better than {other}, is not decided: {kept} it is {between} ({CONFIDENCE} % interval)."
    if gain.value < 0:
        ends = f"{worse(-gain.high)} to {worse(-gain.low)}"
        return f"It is {worse(-gain.value)} worse than {other}, {kept} ({CONFIDENCE} % interval: {ends})."
    ends = f"{better(gain.low)} to {better(gain.high)}"
    return f"It is {better(gain.value)} better than {other}, {kept} ({CONFIDENCE} % interval: {ends})."


def better(loss: float, *, up: bool = False) -> str:
    """How much better a loss smaller by so much is, as per cent of what is measured; `up` rounds up."""
    return _percent(-100 * math.expm1(-loss) if math.isfinite(loss) else loss, up)


def worse(loss: float, *, up: bool = False) -> str:
    """How much worse a loss larger by so much is, as per cent of what is measured."""
    return _percent(100 * math.expm1(loss) if math.isfinite(loss) else loss, up)


def _percent(share: float, up: bool) -> str:
    """One digit after the point from 1 % on, else two."""
    if not math.isfinite(share):
        return "an unknown amount"
    if share == 0:
        return "0 %"
    if abs(share) < 0.005:
        return "less than 0.01 %"
    digits = 1 if abs(share) >= 0.95 else 2
    step = 10.0**-digits
    return f"{math.ceil(share / step - 1e-9) * step if up else share:.{digits}f} %"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
