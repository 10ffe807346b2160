"""The one measure that a study's claims are read from, on a scale where more is better and differences compare."""

import math
from dataclasses import dataclass

import polars as pl

from calibrant.errors import InputError
from calibrant.reporting.comparison import Comparison
from calibrant.reporting.findings import EFFECT
from calibrant.reporting.index import Study
from calibrant.reporting.measures import AVERAGE, Measure, average_of, error_of_guessing, find_measures


@dataclass(frozen=True)
class Outcome:
    """A measure as claims see it.

    A *score* is an accuracy in per cent, or -100 ln(perplexity): of two scores the higher is the better model, and a
    difference of 1 is one percentage point, or one per cent of the perplexity. The logarithm makes perplexities of
    different levels (50 % and 60 % sparsity) comparable.

    Attributes:
        measure: what is measured.
        members: the measures behind it: itself, or the tasks of an average.
        guessing: whether the dense model does no better than guessing on it, so that nothing can be read from it.
    """

    measure: Measure
    members: tuple[Measure, ...]
    guessing: bool = False

    @property
    def unit(self) -> str:
        """Unit of a difference of scores."""
        return "% of perplexity" if self.measure.kind == "perplexity" else "points"

    @property
    def margin(self) -> float:
        """The smallest difference worth finding: below it, scores are alike (2 % of the perplexity, 0.3 points)."""
        if self.measure.kind == "perplexity":
            return 100 * EFFECT["perplexity"]
        return EFFECT["accuracy"]

    def score(self, value: float) -> float:
        """A stored value as a score."""
        return -100 * math.log(value) if self.measure.kind == "perplexity" else 100 * value


def choose_outcome(frame: pl.DataFrame, study: Study, name: str | None = None) -> Outcome | None:
    """The outcome that a study's claims are read from; None for a frame without any measure.

    Without a name: the unweighted average of the tasks on which the dense model exceeds guessing, as in the paper,
    where there are two or more; else the perplexity of the first text; else the one task.

    Args:
        frame: results with `results.COLUMNS`; samples, prefix length and filter rate may vary.
        study: what the report says of it; names metrics and labels of tasks.
        name: `average`, or the name of a text or task.

    Raises:
        InputError: the study has no such outcome.
    """
    perplexities, accuracies = find_measures(frame, study.tasks)
    dense = Comparison(frame.filter(pl.col("method") == "dense"), study)
    at_chance = {(m.task, m.metric) for m in dense.at_chance}
    readable = [m for m in accuracies if (m.task, m.metric) not in at_chance]
    single = {m.task: Outcome(m, (m,), (m.task, m.metric) in at_chance) for m in (*perplexities, *accuracies)}
    average = _average(readable) if len(readable) > 1 else None
    if name is None:
        if average is not None:
            return average
        return next((single[m.task] for m in (*perplexities, *readable, *accuracies)), None)
    if name == "average" and average is not None:
        return average
    if name not in single:
        known = [*(["average"] if average else []), *single]
        raise InputError(f"outcome {name}: the study has no such measure; it has {', '.join(known)}")
    return single[name]


def _average(members: list[Measure]) -> Outcome:
    label = f"Mean accuracy over {len(members)} tasks above chance"
    return Outcome(average_of(members, AVERAGE, label), tuple(members))


def with_scores(frame: pl.DataFrame, outcome: Outcome) -> pl.DataFrame:
    """The rows of a result frame that the outcome needs, one a run, with `score` and `guessing`.

    A run without one of the average's tasks is left out. `guessing`: the pruned model is within two standard errors
    (over items) of guessing; false where the chance level or an error is not known.
    """
    keys = ["method", "sparsity", "source", "origin", "samples", "prefix_length", "drop", "seed"]
    wanted = pl.DataFrame(
        [(m.task, m.metric, m.chance) for m in outcome.members],
        schema={"task": pl.String, "metric": pl.String, "chance": pl.Float64},
        orient="row",
    )
    members = frame.join(wanted, on=["task", "metric"], how="inner", maintain_order="left")
    count = len(outcome.members)
    error = pl.col("stderr").fill_null(error_of_guessing(pl.col("chance"), pl.col("n")))
    runs = members.group_by(keys, maintain_order=True).agg(
        pl.col("value").mean(),
        pl.when(pl.col("chance").null_count() == 0).then(pl.col("chance").mean()).alias("chance"),
        pl.when(error.null_count() == 0).then((error**2).sum().sqrt() / count).alias("error"),
        pl.len().alias("tasks"),
    )
    return runs.filter(pl.col("tasks") == count).select(
        *keys,
        pl.col("value").map_elements(outcome.score, return_dtype=pl.Float64).alias("score"),
        (pl.col("value") <= pl.col("chance") + 2 * pl.col("error")).fill_null(False).alias("guessing"),
    )
