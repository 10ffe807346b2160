"""What the choice of text and that of method move: ranges of means, each averaged over the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from calibrant.reporting.inference.ranges import Range, value_range
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.study_results import StudyResults


@dataclass(frozen=True)
class Effects:
    """What the choice of text and the choice of method move, each averaged over the other; None: not run."""

    text: Range | None
    method: Range | None

    @property
    def verdict(self) -> str:
        """Which matters more; `undecided` where the intervals overlap, `unknown` where one is missing."""
        if self.text is None or self.method is None or self.text.low is None or self.method.low is None:
            return "unknown"
        if self.text.high is None or self.method.high is None:
            return "unknown"
        if self.text.low > self.method.high:
            return "text"
        return "method" if self.method.low > self.text.high else "undecided"


def effects(data: StudyResults, sparsity: str, measure: Measure) -> Effects:
    """Ranges of the sources' means (over methods) and of the methods' means (over sources), on real text.

    Only sources that every method was run on count, and seeds that all of these share, so that each mean is over
    the same runs.
    """
    methods = [m for s, m in data.combinations() if s == sparsity]
    values = {(m, s): data.values(data.at(m, sparsity, s, "real"), measure) for m in methods for s in data.sources}
    sources = [s for s in data.sources if all(values[m, s] for m in methods)]
    seeds = [
        seed
        for seed in (values[methods[0], sources[0]] if methods and sources else ())
        if all(seed in values[m, s] for m in methods for s in sources)
    ]
    if not seeds:
        return Effects(None, None)

    def means(names: Sequence[str], others: Sequence[str], key: Callable[[str, str], tuple[str, str]]) -> Range | None:
        return value_range(
            {n: [sum(values[key(n, o)][seed] for o in others) / len(others) for seed in seeds] for n in names}
        )

    return Effects(means(sources, methods, lambda s, m: (m, s)), means(methods, sources, lambda m, s: (m, s)))


def source_range(data: StudyResults, method: str, sparsity: str, measure: Measure) -> Range | None:
    """The range over the real sources of a method's means at a sparsity."""
    cells = {s: data.at(method, sparsity, s, "real") for s in data.sources}
    return value_range({s: list(data.values(cell, measure).values()) for s, cell in cells.items()})
