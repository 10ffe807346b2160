"""Results arranged for comparison: look up the seeds of a cell, and pair real with self-generated text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from calibrant.errors import InputError
from calibrant.reporting import statistics
from calibrant.reporting.index import Study, default_label
from calibrant.reporting.measures import (
    AVERAGE,
    AVERAGE_READABLE,
    Measure,
    average_of,
    error_of_guessing,
    find_measures,
)
from calibrant.reporting.readable import short_label
from calibrant.reporting.statistics import Estimate


class Cell(NamedTuple):
    """What was run: a method at a sparsity, calibrated on a source's real or generated text (None: no data)."""

    method: str
    sparsity: str
    source: str | None = None
    origin: str | None = None


DENSE = Cell("dense", "0")


@dataclass(frozen=True)
class Item:
    """One evaluation's value and its error over items."""

    value: float
    stderr: float | None
    n: int | None

    def error(self, chance: float) -> float | None:
        """The standard error over items; where the results have none, that of guessing as many items."""
        if self.stderr is None and self.n:
            return float(error_of_guessing(chance, self.n))
        return self.stderr


class Comparison:
    """A study's results by cell and measure.

    Attributes:
        methods: methods that use data, in order of appearance.
        sparsities: sparsities other than 0, mildest first (at equal shares the unstructured one first).
        sources: sources in the order of the report.
        origins: of real and synthetic, those that were run.
        perplexities, accuracies: measures of texts and of tasks.
        averages: the average over all tasks, and that over tasks above chance where these differ.
        achieved: achieved sparsity by cell, where the masks record it.
        at_chance: tasks on which the dense model is within two standard errors of guessing.
    """

    def __init__(self, frame: pl.DataFrame, study: Study) -> None:
        self._items: dict[tuple[Cell, str, str], dict[int | None, Item]] = {}
        achieved: dict[Cell, set[float | None]] = {}
        settings: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
        for row in frame.iter_rows(named=True):
            cell = Cell(row["method"], row["sparsity"], row["source"], row["origin"])
            values = self._items.setdefault((cell, row["task"], row["metric"]), {})
            values[row["seed"]] = Item(row["value"], row["stderr"], row["n"])
            achieved.setdefault(cell, set()).add(row["achieved_sparsity"])
            settings.setdefault(tuple(cell), set()).add((row["samples"], row["prefix_length"], row["drop"]))
        for key, variants in settings.items():
            if len(variants) > 1:
                raise InputError(
                    f"runs of {' '.join(str(k) for k in key if k is not None)} differ in samples, prefix_length or "
                    f"drop ({len(variants)} variants); this report compares sources at one setting of these"
                )
        # The mean over seeds; they agree to a few weights, and one without masks leaves the cell unknown.
        self.achieved = {
            cell: sum(sorted(v for v in values if v is not None)) / len(values)
            for cell, values in achieved.items()
            if None not in values
        }
        cells = list(dict.fromkeys(cell for cell, _, _ in self._items))
        self.cells = cells
        self.labels = dict(study.sources)
        self.methods = list(dict.fromkeys(c.method for c in cells if c.source is not None))
        self.sparsities = sorted({c.sparsity for c in cells if c.method != "dense"}, key=_by_share)
        named = dict.fromkeys(c.source for c in cells if c.source is not None)
        self.sources = [s for s in self.labels if s in named] + [s for s in named if s not in self.labels]
        self.origins = [o for o in ("real", "synthetic") if any(c.origin == o for c in cells)]
        self.perplexities, self.accuracies = find_measures(frame, study.tasks)
        self.at_chance = [m for m in self.accuracies if self.is_at_chance(DENSE, m)]
        self.averages = self._averages()

    def _averages(self) -> list[Measure]:
        if len(self.accuracies) < 2:
            return []
        averages = [average_of(self.accuracies, AVERAGE, "Mean accuracy")]
        readable = [m for m in self.accuracies if m not in self.at_chance]
        if self.at_chance and readable:
            averages.append(average_of(readable, AVERAGE_READABLE, "Mean accuracy, tasks above chance"))
        return averages

    @property
    def measures(self) -> list[Measure]:
        """All measures in the order of a table's columns."""
        return [*self.perplexities, *self.accuracies, *self.averages]

    @property
    def outcomes(self) -> list[Measure]:
        """The measures that conclusions are read from: perplexities, and one average over readable tasks.

        With a single task that is above chance, that task; with none, perplexities alone.
        """
        readable = [m for m in self.accuracies if m not in self.at_chance]
        if not readable:
            return list(self.perplexities)
        return [*self.perplexities, *(self.averages[-1:] if self.averages else readable)]

    def source_label(self, source: str) -> str:
        """What to call a source."""
        return self.labels.get(source, default_label(source))

    def combinations(self) -> list[tuple[str, str]]:
        """(sparsity, method) of the runs with data, mildest sparsity first."""
        run = {(c.sparsity, c.method) for c in self.cells if c.source is not None}
        return [(s, m) for s in self.sparsities for m in self.methods if (s, m) in run]

    def items(self, cell: Cell, measure: Measure) -> dict[int | None, Item]:
        """Values by seed; an average needs every one of its tasks (its error: of a mean of independent tasks)."""
        if measure.kind != "average":
            return self._items.get((cell, measure.task, measure.metric), {})
        members = [self._items.get((cell, task, metric), {}) for task, metric in measure.members]
        seeds = [seed for seed in members[0] if all(seed in member for member in members)]
        return {seed: _mean_item([member[seed] for member in members]) for seed in seeds}

    def values(self, cell: Cell, measure: Measure) -> dict[int | None, float]:
        """Shown values (perplexity, or per cent) by seed."""
        return {seed: item.value * measure.scale for seed, item in self.items(cell, measure).items()}

    def estimate(self, cell: Cell, measure: Measure) -> Estimate | None:
        """Mean and spread over seeds, None where nothing was run."""
        values = list(self.values(cell, measure).values())
        return statistics.estimate(values) if values else None

    def differences(self, sparsity: str, method: str, source: str, measure: Measure) -> list[float]:
        """Self-generated minus real, for each seed that both have (an empty list: none)."""
        real = self.values(Cell(method, sparsity, source, "real"), measure)
        synthetic = self.values(Cell(method, sparsity, source, "synthetic"), measure)
        return [synthetic[seed] - real[seed] for seed in real if seed in synthetic]

    def difference(self, sparsity: str, method: str, source: str, measure: Measure) -> Estimate | None:
        """The paired difference of one source, None without a common seed."""
        values = self.differences(sparsity, method, source, measure)
        return statistics.estimate(values) if values else None

    def by_source(self, sparsity: str, method: str, measure: Measure) -> dict[str, list[float]]:
        """The differences of every source that has both texts."""
        found = {s: self.differences(sparsity, method, s, measure) for s in self.sources}
        return {source: values for source, values in found.items() if values}

    def is_at_chance(self, cell: Cell, measure: Measure) -> bool:
        """Whether the mean accuracy is within two standard errors (over items) of guessing.

        False where the chance level, the value, or both its error and the number of items are not known.
        """
        if measure.chance is None:
            return False
        items = list(self.items(cell, measure).values())
        errors = [error for item in items if (error := item.error(measure.chance)) is not None]
        if not errors:
            return False
        # The items are the same for every seed, so averaging over seeds does not shrink their error.
        return _mean([i.value for i in items]) <= measure.chance + 2 * _mean(errors)

    def mostly_guessing(self, sparsity: str, measure: Measure) -> bool:
        """Whether most models that data pruned so far are at chance: a difference among them is one of guesses."""
        cells = [c for c in self.cells if c.sparsity == sparsity and c.source is not None]
        return 2 * sum(self.is_at_chance(cell, measure) for cell in cells) > len(cells)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_item(items: Sequence[Item]) -> Item:
    errors = [item.stderr for item in items if item.stderr is not None]
    counts = [item.n for item in items if item.n is not None]
    stderr = sum(e * e for e in errors) ** 0.5 / len(items) if len(errors) == len(items) else None
    return Item(_mean([i.value for i in items]), stderr, sum(counts) if len(counts) == len(items) else None)


def share(sparsity: str) -> float:
    """Share of the weights that are pruned: 0.6 of `0.6`, 0.75 of `1:4` (one kept of four)."""
    if ":" in sparsity:
        kept, group = sparsity.split(":")
        return 1 - int(kept) / int(group)
    return float(sparsity)


def _by_share(sparsity: str) -> tuple[float, bool, str]:
    return (share(sparsity), ":" in sparsity, sparsity)


def sparsity_label(sparsity: str) -> str:
    """`60 %`, `2:4`, `dense`."""
    if sparsity == "0":
        return "dense"
    return sparsity if ":" in sparsity else f"{100 * share(sparsity):.4g} %"


METHOD_LABELS = {
    "dense": "Dense",
    "magnitude": "Magnitude",
    "wanda": "Wanda",
    "ria": "RIA",
    "sparsegpt": "SparseGPT",
    "dsnot": "DSnoT",
    "owl": "OWL",
}


def method_label(method: str) -> str:
    """The published spelling of a method's name."""
    return METHOD_LABELS.get(method, short_label(method))
