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
        most = worse(standing.indifferent, up=True)
        found.append(f"It does not matter, by at most {most}: every candidate is as good as the best.")
    if standing.bound == 0:
        found.append(f"{lead}: with {CONFIDENCE} % confidence nothing tried is better.")
    else:
        most = better(standing.bound, up=True)
        found.append(f"{lead}: with {CONFIDENCE} % confidence nothing tried is more than {most} better.")
        if standing.expected < standing.bound:
            found.append(f"Expected is less: about {worse(standing.expected)} worse than the best of them.")
    if len(standing.as_good) > 1:
        others = [name for name in standing.as_good if name != standing.leader]
        found.append(f"As good within the margin: {listed(others)}.")
    if standing.gain is not None and reference is not None:
        found.append(
            f"Against {reference} it is {better(standing.gain.value)} better ({better(standing.gain.low)} to "
            f"{better(standing.gain.high)})."
        )
    for more, bound in sorted((forecasts or {}).items()):
        found.append(f"Another {more} sets would bring the bound to about {better(bound, up=True)}.")
    return found


def better(loss: float, *, up: bool = False) -> str:
    """How much better a loss smaller by so much is, as per cent of what is measured; `up` rounds up."""
    return _percent(-100 * math.expm1(-loss) if math.isfinite(loss) else loss, up)


def worse(loss: float, *, up: bool = False) -> str:
    """How much worse a loss larger by so much is, as per cent of what is measured."""
    return _percent(100 * math.expm1(loss) if math.isfinite(loss) else loss, up)


def _percent(share: float, up: bool) -> str:
    """Two digits that count, one after the point from 1 % on."""
    if not math.isfinite(share):
        return "an unknown amount"
    if share == 0:
        return "0 %"
    digits = 1 if abs(share) >= 0.95 else 1 - math.floor(math.log10(abs(share)))
    step = 10.0**-digits
    return f"{math.ceil(share / step - 1e-9) * step if up else share:.{digits}f} %"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
