"""A study's results by cell and measure: the one model that tests, tables, figures and pages read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from calibrant.reporting.results.cells import (
    COLUMNS_OF_CELL,
    DENSE,
    SETTINGS,
    Cell,
    Setting,
    Text,
    in_order,
    main_setting,
)
from calibrant.reporting.results.index import Study
from calibrant.reporting.results.measures import (
    AVERAGE,
    AVERAGE_READABLE,
    Measure,
    average_of,
    error_of_guessing,
    find_measures,
)
from calibrant.reporting.results.readable import default_label

Seeds = dict[int | None, float]  # a value for each seed


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


class StudyResults:
    """The runs of one study of one model.

    Samples, prefix length and filter rate may vary: `at` gives the cell of a text in the main setting.

    Attributes:
        cells: all cells, in the order of the study.
        main: the setting of most runs.
        methods: methods that use data, in order of appearance.
        targets: what the model was compressed to, in the order of `cells.in_order`.
        sources: sources in the order of the report.
        origins: of real and synthetic, those that were run.
        perplexities, accuracies: measures of texts and of tasks.
        averages: the average over all tasks, and that over tasks above chance where these differ.
        achieved: achieved sparsity by cell, where the masks record it.
        shared: of each text the share of rows that two of its sets have in common, where that is known.
        at_chance: tasks on which the dense model is within two standard errors of guessing.
    """

    def __init__(self, frame: pl.DataFrame, study: Study, shared: Mapping[Text, float] | None = None) -> None:
        self._items: dict[tuple[Cell, str, str], dict[int | None, Item]] = {}
        self._scores: dict[tuple[Any, ...], Seeds] = {}
        self._chance: dict[tuple[Any, ...], bool] = {}
        self._settings: dict[Setting, list[Any]] = {}
        achieved: dict[Cell, set[float | None]] = {}
        seeds: dict[Cell, set[int | None]] = {}
        for row in frame.iter_rows(named=True):
            cell = Cell(*(row[name] for name in COLUMNS_OF_CELL))
            values = self._items.setdefault((cell, row["task"], row["metric"]), {})
            values[row["seed"]] = Item(row["value"], row["stderr"], row["n"])
            achieved.setdefault(cell, set()).add(row["achieved_sparsity"])
            seeds.setdefault(cell, set()).add(row["seed"])
        # The mean over seeds; they agree to a few weights, and one without masks leaves the cell unknown.
        self.achieved = {
            cell: sum(sorted(v for v in values if v is not None)) / len(values)
            for cell, values in achieved.items()
            if None not in values
        }
        self.study = study
        self.shared = dict(shared or {})
        self.cells = list(seeds)
        self.main = main_setting({cell: len(found) for cell, found in seeds.items()})
        self.labels = dict(study.sources)
        self.methods = list(dict.fromkeys(c.method for c in self.cells if c.source is not None))
        self.targets = in_order([c.target for c in self.cells if c.method != "dense"])
        named = dict.fromkeys(c.source for c in self.cells if c.source is not None)
        self.sources = [s for s in self.labels if s in named] + [s for s in named if s not in self.labels]
        self.origins = [o for o in ("real", "synthetic") if any(c.origin == o for c in self.cells)]
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

    # Which measures.

    @property
    def measures(self) -> list[Measure]:
        """All measures in the order of a table's columns."""
        return [*self.perplexities, *self.accuracies, *self.averages]

    @cached_property
    def outcomes(self) -> list[Measure]:
        """The measures that conclusions are read from: perplexities, and one average over readable tasks.

        With a single task that is above chance, that task; with none, perplexities alone.
        """
        readable = [m for m in self.accuracies if m not in self.at_chance]
        if not readable:
            return list(self.perplexities)
        return [*self.perplexities, *(self.averages[-1:] if self.averages else readable)]

    @property
    def headline(self) -> list[Measure]:
        """The outcomes that the paper's tables and figures show: the first perplexity, and the average over tasks."""
        return [*self.perplexities[:1], *(m for m in self.outcomes if m.kind != "perplexity")]

    # Which cells.

    def at(self, method: str, target: str, source: str | None, origin: str | None, **other: Any) -> Cell:
        """The cell of a text in the main setting, but for `samples`, `prefix_length` or `drop` if given.

        In a study that varies none of them for one text, the cell of that text, whatever its setting.
        """
        if source is None:
            return Cell(method, target)
        only = self._only.get((method, target, source, origin))
        return (only or self.in_main_setting(method, target, source, origin))._replace(**other)

    def in_main_setting(self, method: str, target: str, source: str, origin: str | None) -> Cell:
        """The cell of a text in exactly the main setting, run or not."""
        prefix, drop = (None, None) if origin == "real" else (self.main.prefix_length, self.main.drop)
        return Cell(method, target, source, origin, self.main.samples, prefix, drop)

    @cached_property
    def _only(self) -> dict[tuple[Any, ...], Cell]:
        return {} if self.varied else {cell[:4]: cell for cell in self.cells}

    def text(self, source: str, origin: str, **other: Any) -> Text:
        """A text in the main setting, but for `samples`, `prefix_length` or `drop` if given (as `at`)."""
        cells = {} if self.varied else {cell[2:4]: cell for cell in self.cells}
        cell = cells.get((source, origin)) or self.in_main_setting("", "", source, origin)
        return cell._replace(**other).text

    @cached_property
    def main_cells(self) -> list[Cell]:
        """The cells of the main setting, and those without data."""
        return [c for c in self.cells if c == self.at(c.method, c.target, c.source, c.origin)]

    @cached_property
    def varied(self) -> list[Setting]:
        """Settings that differ between runs of one method, target, source and origin."""
        found: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell[:4], []).append(cell)
        return [
            name for name in SETTINGS if any(len({getattr(c, name) for c in cells}) > 1 for cells in found.values())
        ]

    def values_of(self, setting: Setting) -> list[Any]:
        """The values of a setting where the others are the main ones, smallest first."""
        if setting not in self._settings:
            found = {getattr(c, setting) for c in self.cells if c == self._like(c, setting)}
            self._settings[setting] = sorted(found - {None})
        return self._settings[setting]

    def _like(self, cell: Cell, setting: Setting) -> Cell:
        return self.at(cell.method, cell.target, cell.source, cell.origin)._replace(**{setting: getattr(cell, setting)})

    @cached_property
    def _known(self) -> set[Cell]:
        return set(self.cells)

    def has(self, cell: Cell) -> bool:
        """Whether the cell was run."""
        return cell in self._known

    def combinations(self, *, anywhere: bool = False) -> list[tuple[str, str]]:
        """(target, method) of the runs with data in the main setting (`anywhere`: in any), mildest target first."""
        cells = self.cells if anywhere else self.main_cells
        run = {(c.target, c.method) for c in cells if c.source is not None}
        return [(s, m) for s in self.targets for m in self.methods if (s, m) in run]

    def source_label(self, source: str) -> str:
        """What to call a source."""
        return self.labels.get(source, default_label(source))

    # Their values.

    def items(self, cell: Cell, measure: Measure) -> dict[int | None, Item]:
        """Values by seed; an average needs every one of its tasks (its error: of a mean of independent tasks)."""
        if measure.kind != "average":
            return self._items.get((cell, measure.task, measure.metric), {})
        key = (cell, measure.task, str(measure.members))
        if key not in self._items:
            members = [self._items.get((cell, task, metric), {}) for task, metric in measure.members]
            seeds = [seed for seed in members[0] if all(seed in member for member in members)]
            self._items[key] = {seed: _mean_item([member[seed] for member in members]) for seed in seeds}
        return self._items[key]

    def values(self, cell: Cell, measure: Measure) -> Seeds:
        """Shown values (perplexity, or per cent) by seed."""
        return {seed: item.value * measure.scale for seed, item in self.items(cell, measure).items()}

    def scores(self, cell: Cell, measure: Measure) -> Seeds:
        """Scores by seed: higher is better, a difference of 1 is a point or one per cent of the perplexity."""
        key = (cell, measure.key, measure.members)
        if key not in self._scores:
            items = self.items(cell, measure).items()
            self._scores[key] = {seed: measure.score(item.value) for seed, item in items}
        return self._scores[key]

    def is_at_chance(self, cell: Cell, measure: Measure) -> bool:
        """Whether the mean accuracy is within two standard errors (over items) of guessing.

        False where the chance level, the value, or both its error and the number of items are not known.
        """
        if measure.chance is None:
            return False
        key = (cell, measure.key, measure.members)
        if key not in self._chance:
            items = list(self.items(cell, measure).values())
            errors = [error for item in items if (error := item.error(measure.chance)) is not None]
            # The items are the same for every seed, so averaging over seeds does not shrink their error.
            mean = _mean([i.value for i in items]) if items else 1.0
            self._chance[key] = bool(errors) and mean <= measure.chance + 2 * _mean(errors)
        return self._chance[key]

    def guesses(self, measure: Measure) -> bool:
        """Whether even the dense model only guesses: no side is named on such a measure."""
        return self.is_at_chance(DENSE, measure)

    def mostly_guessing(self, target: str, measure: Measure) -> bool:
        """Whether most models that data pruned so far are at chance: a difference among them is one of guesses."""
        cells = [c for c in self.main_cells if c.target == target and c.source is not None]
        return 2 * sum(self.is_at_chance(cell, measure) for cell in cells) > len(cells)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_item(items: Sequence[Item]) -> Item:
    errors = [item.stderr for item in items if item.stderr is not None]
    counts = [item.n for item in items if item.n is not None]
    stderr = sum(e * e for e in errors) ** 0.5 / len(items) if len(errors) == len(items) else None
    return Item(sum(i.value for i in items) / len(items), stderr, sum(counts) if len(counts) == len(items) else None)
