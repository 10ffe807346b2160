"""What a study offers to its claims: scores by cell and seed on one outcome, and what is known of its sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from calibrant.reporting.results.cells import Cell, MainSetting
from calibrant.reporting.results.measures import EFFECT, Measure
from calibrant.reporting.results.outcome import choose_outcome, guesses
from calibrant.reporting.results.samples import SCORES
from calibrant.reporting.results.study_results import Seeds, StudyResults


@dataclass(frozen=True)
class Evidence:
    """The runs of one study of one model.

    Attributes:
        data: the study.
        outcome: what scores measure.
        cells: scores by cell and seed, in the order of the study.
        guessing: cells in which most pruned models do no better than guessing.
        scores: Min-K%++ and perplexity of the texts (`samples.read_scores`).
        similarity: each source's similarity to the model's training data.
        training: sources that are the model's training data.
        high_quality: sources that are taken for text of high quality.
    """

    data: StudyResults
    outcome: Measure
    cells: Mapping[Cell, Seeds]
    guessing: frozenset[Cell]
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORES))
    similarity: Mapping[str, float] = field(default_factory=dict)
    training: Sequence[str] = ()
    high_quality: Sequence[str] = ("wikipedia",)

    @property
    def main(self) -> MainSetting:
        """The setting of most runs."""
        return self.data.main

    @property
    def dense_guesses(self) -> bool:
        """Whether even the dense model only guesses."""
        return guesses(self.data, self.outcome)

    @property
    def margin(self) -> float:
        """The smallest difference worth finding: below it, scores are alike (2 % of the perplexity, 0.3 points)."""
        return 100 * EFFECT["perplexity"] if self.outcome.kind == "perplexity" else EFFECT["accuracy"]

    def select(self, **conditions: Any) -> dict[Cell, Seeds]:
        """The cells with these values of these fields."""
        return {c: s for c, s in self.cells.items() if all(getattr(c, k) == v for k, v in conditions.items())}

    def at(self, method: str, sparsity: str, source: str, origin: str, **other: Any) -> Cell:
        """The cell of a text in the main setting, but for `samples`, `prefix_length` or `drop` if given."""
        return self.data.in_main_setting(method, sparsity, source, origin)._replace(**other)

    def sources(self, method: str, sparsity: str, origin: str, **other: Any) -> list[str]:
        """Sources that have such a cell."""
        return [s for s in self.names if self.at(method, sparsity, s, origin, **other) in self.cells]

    @cached_property
    def names(self) -> list[str]:
        """All sources."""
        return list(dict.fromkeys(c.source for c in self.cells if c.source is not None))

    @cached_property
    def methods(self) -> list[str]:
        """Methods that use data; where some were run with two seeds or more, only these.

        A method that was tried once on some sources would weigh as much as the study's own in every mean.
        """
        found = {c.method: False for c in self.cells if c.source is not None}
        for cell, seeds in self.cells.items():
            if cell.source is not None:
                found[cell.method] |= len(seeds) > 1
        return [m for m, repeated in found.items() if repeated] or list(found)

    @cached_property
    def sparsities(self) -> list[str]:
        """Sparsities at which methods with data were run, in the order of `cells.in_order`."""
        return [s for s in self.data.sparsities if any(c.sparsity == s and c.source is not None for c in self.cells)]

    def sparsity(self, *preferred: str) -> str | None:
        """The first of these that was run, else the harshest ratio, else the strictest pattern.

        Sparsities that were run with two seeds or more come before those that were not.
        """
        run = self.sparsities
        ratios = [s for s in run if ":" not in s]
        order = [s for s in (*preferred, *reversed(ratios), *reversed(run)) if s in run]
        repeated = {c.sparsity for c, seeds in self.cells.items() if c.source is not None and len(seeds) > 1}
        return next((s for s in order if s in repeated), order[0] if order else None)


def gather(
    data: StudyResults,
    *,
    outcome: str | None = None,
    scores: pl.DataFrame | None = None,
    similarity: pl.DataFrame | None = None,
) -> Evidence | None:
    """Arrange a study for the claims; None where it has no measure at all.

    Args:
        data: its results; samples, prefix length and filter rate may vary.
        outcome: what claims are read from (`outcome.choose_outcome`).
        scores: Min-K%++ of the texts, with the columns of `samples.SCORES`.
        similarity: rows of `calibrant similarity` (`scoring.corpus_similarity.SCHEMA`).

    Raises:
        InputError: the study has no such outcome.
    """
    chosen = choose_outcome(data, outcome)
    if chosen is None:
        return None
    cells = {cell: found for cell in data.cells if (found := data.scores(cell, chosen))}
    return Evidence(
        data,
        chosen,
        cells,
        frozenset(cell for cell in cells if _guessing(data, cell, chosen)),
        pl.DataFrame(schema=SCORES) if scores is None else scores,
        {} if similarity is None else to_training(similarity, data.study.trained_on),
        data.study.trained_on,
    )


def _guessing(data: StudyResults, cell: Cell, measure: Measure) -> bool:
    """Whether most pruned models of a cell are within two standard errors (over items) of guessing."""
    if measure.chance is None:
        return False
    each = []
    for item in data.items(cell, measure).values():
        error = item.error(measure.chance)
        each.append(error is not None and item.value <= measure.chance + 2 * error)
    return 2 * sum(each) > len(each)


def to_training(similarity: pl.DataFrame, training: Sequence[str]) -> dict[str, float]:
    """Each source's largest Jaccard similarity to a source of training data: exact where that was computed.

    Rows of the first unit and n only, since word and character shingles do not compare.
    """
    found: dict[str, float] = {}
    kinds = similarity.select("unit", "n").rows()
    for row in similarity.iter_rows(named=True):
        if row["reference"] in training and row["source"] not in training and (row["unit"], row["n"]) == kinds[0]:
            value = row["jaccard"] if row["exact"] is None else row["exact"]
            found[row["source"]] = max(value, found.get(row["source"], 0.0))
    return found
