"""What the choice of text and that of method move: ranges of mean scores, which describe and decide nothing."""

from dataclasses import dataclass

from calibrant.reporting.inference.contrasts import set_values
from calibrant.reporting.inference.ranges import Range, value_range
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults


@dataclass(frozen=True)
class Effects:
    """What the choice of text and the choice of method move, each averaged over the other; None: not run."""

    text: Range | None
    method: Range | None


def source_range(data: StudyResults, method: str, target: str, measure: Measure) -> Range | None:
    """The range over the real sources of a method's mean scores at a target."""
    models = {(method, target): 1.0}
    texts = {s: data.text(s, "real") for s in data.sources}
    values = {s: list(set_values(data, measure, models, text).values()) for s, text in texts.items()}
    return value_range({s: found for s, found in values.items() if found})


def effects(data: StudyResults, target: str, measure: Measure) -> Effects:
    """Ranges of the sources' means (over methods) and of the methods' means (over sources), on real text.

    Only sources that every method was run on count, and seeds that all of these share, so that each mean is over
    the same runs.
    """
    methods = [m for s, m in data.combinations() if s == target]
    values = {(m, s): data.scores(data.at(m, target, s, "real"), measure) for m in methods for s in data.sources}
    sources = [s for s in data.sources if all(values[m, s] for m in methods)]
    if not methods or not sources:
        return Effects(None, None)
    seeds = [k for k in values[methods[0], sources[0]] if all(k in values[m, s] for m in methods for s in sources)]
    if not seeds:
        return Effects(None, None)
    by_source = {s: [sum(values[m, s][k] for m in methods) / len(methods) for k in seeds] for s in sources}
    by_method = {m: [sum(values[m, s][k] for s in sources) / len(sources) for k in seeds] for m in methods}
    return Effects(value_range(by_source), value_range(by_method))
