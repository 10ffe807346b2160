"""What a race says, in sentences: whether it matters at all, what to take, how surely, and what would tell more."""

import math

from calibrant.race.standing import ALIKE, Standing

CONFIDENCE = 95  # per cent


def sentences(standing: Standing, reference: str | None = None, forecasts: dict[int, float] | None = None) -> list[str]:
    """Sentences about a look, the most important first.

    Args:
        standing: what the look found.
        reference: name of the candidate that is used today.
        forecasts: the bound that so many more sets would bring.
    """
    lead = f"Take {standing.leader}"
    if standing.reason:
        return [f"{lead}: it did best so far. How sure that is cannot be said yet: {standing.reason}."]
    found = []
    if standing.stopped == ALIKE and len(standing.as_good) == standing.candidates:
        found.append(
            f"It does not matter, by at most {percent(standing.indifferent)}: every candidate is as good as the best."
        )
    if standing.bound == 0:
        found.append(f"{lead}: with {CONFIDENCE} % confidence nothing tried is better.")
    else:
        found.append(
            f"{lead}: with {CONFIDENCE} % confidence nothing tried is more than {percent(standing.bound)} better."
        )
        found.append(f"Expected is less: it is about {percent(standing.expected)} worse than the best of them.")
    if len(standing.as_good) > 1:
        others = [name for name in standing.as_good if name != standing.leader]
        found.append(f"As good within the margin: {listed(others)}.")
    if standing.gain is not None and reference is not None:
        found.append(
            f"Against {reference} it is {percent(standing.gain.value)} better ({percent(standing.gain.low)} to "
            f"{percent(standing.gain.high)})."
        )
    for more, bound in sorted((forecasts or {}).items()):
        found.append(f"Another {more} sets would bring the bound to about {percent(bound)}.")
    return found


def percent(loss: float) -> str:
    """A difference of losses as per cent of what is measured, two digits that count."""
    if not math.isfinite(loss):
        return "an unknown amount"
    share = 100 * loss
    return f"{share:.1f} %" if abs(share) >= 0.95 or share == 0 else f"{share:.2g} %"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
