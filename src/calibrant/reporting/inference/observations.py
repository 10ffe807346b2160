"""Sentences about what was seen, which no test stands behind: counts, medians, tasks at chance."""

import math
from dataclasses import dataclass

import polars as pl

from calibrant.reporting.results.cells import DENSE, baseline_cell, baseline_words, done_to, method_label, targets_told
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.samples import median
from calibrant.reporting.results.study_results import StudyResults


@dataclass(frozen=True)
class Statement:
    """A sentence and what qualifies it."""

    text: str
    hedge: str = ""


def against_baseline(data: StudyResults, target: str) -> Statement | None:
    """How many calibrated models, of which methods, did better than the method without data: counts, no test."""
    measure = next(iter(data.outcomes), None)
    plain = baseline_cell(target)
    reference = list(data.scores(plain, measure).values()) if measure else []
    if measure is None or not reference:
        return None
    means: dict[str, list[bool]] = {}
    for cell in data.main_cells:
        scores = list(data.scores(cell, measure).values())
        if cell.target == target and cell.source is not None and scores:
            means.setdefault(cell.method, []).append(sum(scores) / len(scores) > reference[0])
    if not means:
        return None
    counts = ", ".join(f"{sum(won)} of {len(won)} texts with {method_label(m)}" for m, won in means.items())
    level = number(next(iter(data.values(plain, measure).values())), measure.decimals)
    return Statement(
        f"At {targets_told([target])} the mean {measure.name} is better than that of {baseline_words([plain])}, which "
        f"uses no text ({level}), for {counts}."
    )


def predictability(data: StudyResults, scores: pl.DataFrame) -> Statement | None:
    """Whether the model finds its own text more predictable than the real text of the same source."""
    rows = []
    for source in data.sources:
        values = [median(scores, source, origin, "perplexity") for origin in ("real", "synthetic")]
        rows.append([v for v in values if v is not None])
    rows = [row for row in rows if len(row) == 2]
    if not rows:
        return None
    lower = sum(generated < real for real, generated in rows)
    ratio = math.exp(sum(math.log(generated / real) for real, generated in rows) / len(rows))
    return Statement(
        f"By medians, self-generated text has lower perplexity under the unpruned model than real text for {lower} of "
        f"{len(rows)} sources (on average {number(ratio, 2)} times that of real text).",
        "Decoding at a low temperature lowers perplexity and raises Min-K%++ by itself; this does not say that the "
        "text is better.",
    )


def at_chance(data: StudyResults) -> Statement | None:
    """Tasks on which the dense model only guesses."""
    said = []
    for measure in data.at_chance:
        dense = list(data.values(DENSE, measure).values())
        if dense and measure.chance is not None:
            value, chance = number(dense[0], measure.decimals), number(100 * measure.chance, 1)
            said.append(f"{measure.label} ({value} % against {chance} %)")
    if not said:
        return None
    return Statement(
        f"The dense model is not above chance by more than two standard errors on {', '.join(said)}.",
        "No differences are read on such a task; the tables show it for completeness.",
    )


def pruned_at_chance(data: StudyResults) -> list[Statement]:
    """Per target, tasks above chance for the dense model on which most pruned models only guess."""
    said = []
    for target in data.targets:
        labels = [m.label for m in data.accuracies if m not in data.at_chance and data.mostly_guessing(target, m)]
        if labels:
            said.append(
                Statement(
                    f"At {targets_told([target])} most {done_to([target])} models are not above chance by more than "
                    f"two standard errors on {', '.join(labels)}.",
                    "No differences are read there; the tables show them.",
                )
            )
    return said
