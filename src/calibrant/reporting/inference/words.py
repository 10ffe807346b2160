"""Numbers in captions: every one with its interval."""

from calibrant.reporting.inference.ranges import Range
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import number


def _with_unit(text: str, measure: Measure) -> str:
    """A difference with its unit: points of per cent; perplexity has none."""
    return text if measure.kind == "perplexity" else f"{text} points"


def interval(low: float | None, high: float | None, measure: Measure, *, signed: bool = False) -> str:
    """`(95 % interval 0.9 to 3.7)`, or that there is none."""
    if low is None or high is None:
        return "(no interval: one seed, or no spread)"
    shown = [number(value, measure.decimals, signed) for value in (low, high)]
    return f"(95 % interval {shown[0]} to {shown[1]})"


def ranged(found: Range, measure: Measure) -> str:
    """`2.31 points (95 % interval 0.90 to 3.72)`."""
    value = _with_unit(number(found.value, measure.decimals), measure)
    return f"{value} {interval(found.low, found.high, measure)}"


def changed(found: Estimate, measure: Measure) -> str:
    """`+0.61 points (95 % interval +0.20 to +1.02)`."""
    mean = number(found.mean, measure.decimals, signed=True)
    return f"{_with_unit(mean, measure)} {interval(found.low, found.high, measure, signed=True)}"


def listed(items: list[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
