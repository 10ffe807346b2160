"""The one measure that a study's conclusions are read from, and the one by which targets are compared."""

from dataclasses import replace

from calibrant.errors import InputError
from calibrant.reporting.results.measures import Measure, divergence_beside
from calibrant.reporting.results.study_results import StudyResults


def choose_outcome(data: StudyResults, name: str | None = None) -> Measure | None:
    """The outcome of a study; None for one without any measure.

    Without a name: the unweighted average of the tasks on which the dense model exceeds guessing, as in the paper,
    where there are two or more; else the perplexity of the first text; else the one task.

    Args:
        data: the study.
        name: `average`, or the name of a text or task.

    Raises:
        InputError: the study has no such outcome.
    """
    readable = [m for m in data.accuracies if m not in data.at_chance]
    single = [*data.perplexities, *readable, *data.at_chance]
    average = _average(data, readable) if len(readable) > 1 else None
    if name is None:
        return average or next(iter(single), None)
    if name == "average" and average is not None:
        return average
    found = next((m for m in single if m.task == name), None)
    if found is None:
        known = [*(["average"] if average else []), *(m.task for m in [*data.perplexities, *data.accuracies])]
        raise InputError(f"outcome {name}: the study has no such measure; it has {', '.join(known)}")
    return found


def text_measure(data: StudyResults) -> Measure | None:
    """How far models are from the dense one, on the first text: their divergence where all of them have it.

    Else their perplexity; None where no text was evaluated. Both are on a scale that targets of all kinds share.
    """
    text = next(iter(data.perplexities), None)
    if text is None:
        return None
    divergence = divergence_beside(text)
    calibrated = [cell for cell in data.main_cells if cell.source is not None and data.items(cell, text)]
    return divergence if calibrated and all(data.items(cell, divergence) for cell in calibrated) else text


def _average(data: StudyResults, members: list[Measure]) -> Measure:
    """The study's own average of these tasks, under its key: a question about it is the same wherever it is asked."""
    pairs = tuple((m.task, m.metric) for m in members)
    own = next(average for average in data.averages if average.members == pairs)
    return replace(own, label=f"Mean accuracy over {len(members)} tasks above chance")
