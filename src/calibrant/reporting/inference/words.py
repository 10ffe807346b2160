"""Numbers in sentences: every one with its unit and its interval."""

from calibrant.reporting.inference.contrasts import Contrast
from calibrant.reporting.inference.ranges import Range
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import number

NO_INTERVAL = "no interval: one set, or no spread"


def decimals(unit: str) -> int:
    """Decimal places of a difference: two for points, one for per cent of the perplexity."""
    return 1 if unit.startswith("%") else 2


def with_unit(value: float, unit: str, *, signed: bool = True) -> str:
    """`+0.61 points`, `+7.4 % of perplexity`."""
    return f"{number(value, decimals(unit), signed)} {unit}"


def of_measure(value: float, measure: Measure) -> str:
    """`7.4 % of the perplexity on fiction`, `0.61 points of mean accuracy`: a difference of scores without a sign."""
    unit = measure.unit_of_scores
    size = number(abs(value), decimals(unit))
    return f"{size} % of the {measure.name}" if measure.kind == "perplexity" else f"{size} points of {measure.name}"


def interval(found: Estimate | Range, unit: str, *, signed: bool = True) -> str:
    """`95 % interval +0.20 to +1.02`, or that there is none."""
    if found.low is None or found.high is None:
        return NO_INTERVAL
    low, high = (number(value, decimals(unit), signed) for value in (found.low, found.high))
    return f"95 % interval {low} to {high}"


def shown(contrast: Contrast) -> str:
    """`+0.61 points (95 % interval +0.20 to +1.02)`."""
    return f"{with_unit(contrast.estimate.mean, contrast.unit)} ({interval(contrast.estimate, contrast.unit)})"


def ranged(found: Range, unit: str) -> str:
    """`2.31 points (95 % interval 0.90 to 3.72)`."""
    return f"{with_unit(found.value, unit, signed=False)} ({interval(found, unit, signed=False)})"
