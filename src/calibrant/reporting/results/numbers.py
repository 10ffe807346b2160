"""How numbers are written: true minus signs, grouped thousands, p-values, and the dash of what is missing."""

import math

DASH = "–"  # what is missing, never a zero


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number with fixed decimals and a true minus sign; thousands are grouped by a comma."""
    rounded = round(value, decimals) + 0.0  # no "-0.0"
    text = f"{abs(rounded):,.{decimals}f}"
    sign = "−" if rounded < 0 else "+" if signed and rounded > 0 else ""
    return sign + text


def two_digits(value: float) -> int:
    """The decimal places that show two digits of a positive value: 3 of 0.012, 0 of 12."""
    return max(0, 1 - math.floor(math.log10(value)))


def p_value(p: float) -> str:
    """`0.034`, `< 0.001`, `> 0.99`."""
    if p < 0.001:
        return "< 0.001"
    return "> 0.99" if p > 0.99 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_told(p: float) -> str:
    """`p = 0.012`, `p < 0.001`."""
    shown = p_value(p)
    return f"p {shown}" if shown[0] in "<>" else f"p = {shown}"


def listed(items: list[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
