"""Numbers in captions: every one with its interval."""

from calibrant.reporting.layouts.ranges import Range
from calibrant.reporting.measures import Measure
from calibrant.reporting.statistics import Estimate
from calibrant.reporting.table import number


def unit(measure: Measure) -> str:
    """What a difference is counted in: `points` of per cent, or perplexity."""
    return "in perplexity" if measure.kind == "perplexity" else "points"


def interval(low: float | None, high: float | None, measure: Measure, *, signed: bool = False) -> str:
    """`(95 % interval 0.9 to 3.7)`, or that there is none."""
    if low is None or high is None:
        return "(no interval: too few seeds)"
    shown = [number(value, measure.decimals, signed) for value in (low, high)]
    return f"(95 % interval {shown[0]} to {shown[1]})"


def ranged(found: Range, measure: Measure) -> str:
    """`2.31 points (95 % interval 0.90 to 3.72)`."""
    return f"{number(found.value, measure.decimals)} {unit(measure)} {interval(found.low, found.high, measure)}"


def changed(found: Estimate, measure: Measure) -> str:
    """`+0.61 points (95 % interval +0.20 to +1.02)`."""
    mean = number(found.mean, measure.decimals, signed=True)
    return f"{mean} {unit(measure)} {interval(found.low, found.high, measure, signed=True)}"


def listed(items: list[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
