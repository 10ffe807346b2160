"""What no reader should take the numbers for."""

import math

from calibrant.reporting.results.cells import done_to
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.study_results import StudyResults


def limitations(data: StudyResults) -> list[str]:
    """What no reader should take the numbers for."""
    said = [f"One model was {done_to(data.targets)}; other models, larger ones above all, may behave differently."]
    if not any(len(data.items(c, m)) > 1 for c in data.cells if c.source is not None for m in data.outcomes):
        said.append("One set of each text: no interval can be given, and any difference may be the luck of the draw.")
    said.append(
        "Intervals cover the draw of the calibration set. They do not cover the choice of evaluation items, the draw "
        "of the sources, or another run of generation: generated text was drawn once for each source."
    )
    if (note := shared_note(data)) is not None:
        said.append(note)
    if len(data.sources) > 1:
        said.append(
            f"Verdicts speak of these {len(data.sources)} sources, which someone chose. What they say of other "
            "sources is "
            "a second interval, where one is given, and never a verdict."
        )
    return said


def shared_note(data: StudyResults) -> str | None:
    """By how much sets that share rows scatter less than independent ones; None where none do."""
    found = {text: share for text, share in data.shared.items() if share > 0.005}
    if not found:
        return None
    low, high = (math.sqrt(1 - f(found.values())) for f in (max, min))
    factor = number(low, 2) if number(low, 2) == number(high, 2) else f"{number(low, 2)} to {number(high, 2)}"
    return (
        f"Sets of {len(found)} of {len(data.shared)} texts share rows: the spread between their seeds, and intervals "
        f"with it, is {factor} times that of independent sets."
    )
