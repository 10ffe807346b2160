"""What a finding is: a sentence computed from the numbers, and what qualifies it."""

from dataclasses import dataclass

from calibrant.reporting.results.cells import method_label, sparsity_label
from calibrant.reporting.results.numbers import p_value
from calibrant.reporting.results.study_results import StudyResults


@dataclass(frozen=True)
class Finding:
    """A statement and what qualifies it."""

    text: str
    hedge: str = ""


def present(finding: Finding | None) -> list[Finding]:
    """A list with the finding, or an empty one."""
    return [] if finding is None else [finding]


def where(data: StudyResults, sparsity: str, method: str) -> str:
    """`At 60 % sparsity (Wanda)`."""
    return f"At {sparsity_label(sparsity)} sparsity ({method_label(method)})"


def p_told(p: float) -> str:
    """`p = 0.012`, `p < 0.001`."""
    shown = p_value(p)
    return f"p {shown}" if shown[0] in "<>" else f"p = {shown}"
