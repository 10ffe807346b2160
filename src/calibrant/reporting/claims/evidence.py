"""What a study offers to its claims: scores by cell and seed, and the setting that stands for the study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from calibrant.reporting.claims.outcome import Outcome, choose_outcome, with_scores
from calibrant.reporting.comparison import share
from calibrant.reporting.index import Study
from calibrant.reporting.published import settings
from calibrant.reporting.samples import SCORES

Seeds = dict[int | None, float]  # score by seed


class Cell(NamedTuple):
    """What was run, but for the seed. Real text has no prefix length and no filter rate."""

    method: str
    sparsity: str
    source: str | None
    origin: str | None
    samples: int | None
    prefix_length: int | None
    drop: float | None


class Setting(NamedTuple):
    """What a study holds fixed where it varies something else."""

    samples: int | None
    prefix_length: int | None
    drop: float | None


@dataclass(frozen=True)
class Evidence:
    """The runs of one study of one model.

    Attributes:
        outcome: what scores measure.
        cells: scores by cell and seed, in the order of the study.
        guessing: cells in which most pruned models do no better than guessing.
        main: the setting of most runs; of equally many the one nearest to the paper's (128, 4, 0.2).
        scores: Min-K%++ and perplexity of the texts (`samples.read_scores`).
        similarity: each source's similarity to the model's training data.
        training: sources that are the model's training data.
        high_quality: sources that are taken for text of high quality.
    """

    outcome: Outcome
    cells: Mapping[Cell, Seeds]
    guessing: frozenset[Cell]
    main: Setting
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORES))
    similarity: Mapping[str, float] = field(default_factory=dict)
    training: Sequence[str] = ()
    high_quality: Sequence[str] = ("wikipedia",)

    def select(self, **conditions: Any) -> dict[Cell, Seeds]:
        """The cells with these values of these fields."""
        return {c: s for c, s in self.cells.items() if all(getattr(c, k) == v for k, v in conditions.items())}

    def at(self, method: str, sparsity: str, source: str, origin: str, **other: Any) -> Cell:
        """The cell of a text in the main setting, but for `samples`, `prefix_length` or `drop` if given."""
        prefix, drop = (None, None) if origin == "real" else (self.main.prefix_length, self.main.drop)
        return Cell(method, sparsity, source, origin, self.main.samples, prefix, drop)._replace(**other)

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
        """Sparsities at which methods with data were run, ratios first, mildest first, then patterns."""
        found = {c.sparsity for c in self.cells if c.source is not None}
        return sorted(found, key=lambda s: (":" in s, share(s), -_group(s)))

    def sparsity(self, *preferred: str) -> str | None:
        """The first of these that was run, else the harshest ratio, else the strictest pattern.

        Sparsities that were run with two seeds or more come before those that were not.
        """
        run = self.sparsities
        ratios = [s for s in run if ":" not in s]
        order = [s for s in (*preferred, *reversed(ratios), *reversed(run)) if s in run]
        repeated = {c.sparsity for c, seeds in self.cells.items() if c.source is not None and len(seeds) > 1}
        return next((s for s in order if s in repeated), order[0] if order else None)


def _group(sparsity: str) -> int:
    return int(sparsity.partition(":")[2] or 0)


def gather(
    frame: pl.DataFrame,
    study: Study,
    *,
    outcome: str | None = None,
    scores: pl.DataFrame | None = None,
    similarity: pl.DataFrame | None = None,
) -> Evidence | None:
    """Arrange a result frame for the claims; None where it has no measure at all.

    Args:
        frame: results with `results.COLUMNS`; samples, prefix length and filter rate may vary.
        study: what the report says of it, and on which sources the model was trained.
        outcome: what claims are read from (`outcome.choose_outcome`).
        scores: Min-K%++ of the texts, with the columns of `samples.SCORES`.
        similarity: rows of `calibrant similarity` (`scoring.corpus_similarity.SCHEMA`).

    Raises:
        InputError: the study has no such outcome.
    """
    chosen = choose_outcome(frame, study, outcome)
    if chosen is None:
        return None
    cells: dict[Cell, Seeds] = {}
    guesses: dict[Cell, list[bool]] = {}
    for row in with_scores(frame, chosen).iter_rows(named=True):
        cell = Cell(*(row[name] for name in Cell._fields))
        cells.setdefault(cell, {})[row["seed"]] = row["score"]
        guesses.setdefault(cell, []).append(row["guessing"])
    return Evidence(
        chosen,
        cells,
        frozenset(cell for cell, each in guesses.items() if 2 * sum(each) > len(each)),
        main_setting(cells),
        pl.DataFrame(schema=SCORES) if scores is None else scores,
        {} if similarity is None else to_training(similarity, study.trained_on),
        study.trained_on,
    )


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


def main_setting(cells: Mapping[Cell, Seeds]) -> Setting:
    """Samples of most runs, then prefix length and filter rate of most generated ones among these."""
    paper = settings()
    data = {c: len(s) for c, s in cells.items() if c.source is not None}
    samples = _commonest(data, "samples", paper["samples"])
    same = {c: n for c, n in data.items() if c.samples == samples and c.origin == "synthetic"}
    return Setting(
        samples, _commonest(same, "prefix_length", paper["prefix_length"]), _commonest(same, "drop", paper["drop"])
    )


def _commonest(runs: Mapping[Cell, int], name: str, wanted: float) -> Any:
    counts: dict[Any, int] = {}
    for cell, n in runs.items():
        value = getattr(cell, name)
        counts[value] = counts.get(value, 0) + n
    known = [value for value in counts if value is not None]
    return min(known, key=lambda v: (-counts[v], abs(v - wanted)), default=None)
