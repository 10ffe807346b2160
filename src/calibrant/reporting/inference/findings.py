"""Sentences about the results, computed from the numbers and never saying more than they carry."""

import math
from collections.abc import Sequence

import polars as pl
from scipy import stats

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.cell_differences import by_source, cell_estimate
from calibrant.reporting.inference.finding import Finding, p_told, present, where
from calibrant.reporting.inference.method_findings import against_magnitude, methods_compared
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.results.cells import DENSE, sparsity_label
from calibrant.reporting.results.measures import Measure
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.samples import median
from calibrant.reporting.results.study_results import StudyResults

EFFECT = {"perplexity": 0.02, "accuracy": 0.3}  # worth finding: 2 % of the perplexity, 0.3 percentage points


def findings(data: StudyResults, scores: pl.DataFrame) -> list[Finding]:
    """What the study shows, harshest sparsity first, best replicated methods first; the first is fit for a headline."""
    found: list[Finding] = []
    harshest = list(reversed(data.combinations()))
    for sparsity, method in sorted(harshest, key=lambda combination: -_pairs(data, *combination)):
        for measure in data.outcomes:
            if not data.mostly_guessing(sparsity, measure):
                found += present(real_against_generated(data, sparsity, method, measure))
    for sparsity in reversed(data.sparsities):
        found += present(methods_compared(data, sparsity))
        found += present(against_magnitude(data, sparsity))
    for sparsity, method in reversed(data.combinations()):
        found += present(spread_of_sources(data, sparsity, method))
    found += present(predictability(data, scores))
    found += present(at_chance(data))
    found += pruned_at_chance(data)
    found += present(seeds_for_next_time(data))
    return found


def _pairs(data: StudyResults, sparsity: str, method: str) -> int:
    """Pairs of a real and a generated set in the first outcome: what a comparison of the two rests on."""
    return sum(len(values) for m in data.outcomes[:1] for values in by_source(data, sparsity, method, m).values())


def real_against_generated(data: StudyResults, sparsity: str, method: str, measure: Measure) -> Finding | None:
    """How many sources gained from self-generated text, the mean difference, and whether its sign is settled."""
    groups = by_source(data, sparsity, method, measure)
    if not groups:
        return None
    means = [statistics.estimate(values).mean for values in groups.values()]
    together = statistics.pooled(list(groups.values()))
    lower = sum(mean < 0 for mean in means)
    higher = sum(mean > 0 for mean in means)
    word, count = ("lower", lower) if lower >= higher else ("higher", higher)
    unit = "" if measure.kind == "perplexity" else " points"
    seeds = sorted({len(values) for values in groups.values()})
    told = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    seeds_word = "seed" if seeds == [1] else "seeds"
    details = [f"mean difference {number(together.mean, measure.decimals, True)}{unit}"]
    if together.low is not None and together.high is not None and together.p is not None:
        low, high = (number(x, measure.decimals, True) for x in (together.low, together.high))
        details += [f"95 % interval {low} to {high}", p_told(together.p)]
    details.append(f"{told} {seeds_word} a source")
    sources = f"{count} of {len(groups)} sources" if len(groups) > 1 else "the one source of the study"
    text = (
        f"{where(data, sparsity, method)}, self-generated text gave {word} {measure.name} than real text for "
        f"{sources} ({'; '.join(details)})."
    )
    return Finding(text, _sign(together, means, measure))


def _sign(together: Estimate, means: Sequence[float], measure: Measure) -> str:
    if together.low is None:
        return (
            "One seed a source gives no interval, so this may be the luck of the draw."
            if together.df == 0 and together.sd is None
            else "The seeds do not differ at all, so no interval can be given."
        )
    if not together.excludes_zero:
        return "The interval includes zero: these numbers do not settle which is better."
    side = "self-generated" if (together.mean < 0) == measure.lower_is_better else "real"
    if len(means) < 2:
        return f"The interval favours {side} text, for this source and model."
    across = statistics.estimate(means)
    if across.low is None or across.high is None:
        return f"The interval favours {side} text, for these sources and this model."
    low, high = (number(x, measure.decimals, True) for x in (across.low, across.high))
    reach = "excludes zero too" if across.excludes_zero else "does not exclude zero"
    return (
        f"The interval favours {side} text for these sources and this model; taken as a sample of sources it is "
        f"{low} to {high}, which {reach}."
    )


def spread_of_sources(data: StudyResults, sparsity: str, method: str) -> Finding | None:
    """How much the choice of the source matters, for real and for self-generated text, against the seeds' spread."""
    if len(data.sources) < 2 or not data.outcomes:
        return None
    measure = data.outcomes[0]
    said = []
    spreads: list[list[float]] = []
    for origin, word in (("real", "real text"), ("synthetic", "self-generated text")):
        means = {}
        for source in data.sources:
            cell = data.at(method, sparsity, source, origin)
            values = list(data.values(cell, measure).values())
            if values:
                means[source] = sum(values) / len(values)
                spreads.append(values)
        if len(means) > 1:
            low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
            said.append(
                f"{number(means[high] - means[low], measure.decimals)} for {word} ({data.source_label(low)} lowest, "
                f"{data.source_label(high)} highest)"
            )
    if not said:
        return None
    sd = statistics.pooled(spreads).sd
    hedge = "" if sd is None else f"The standard deviation between seeds is {number(sd, measure.decimals)}. "
    return Finding(
        f"{where(data, sparsity, method)}, sources differ in {measure.name} by {' and by '.join(said)}.",
        hedge + "A range of a few means is never zero, even where sources do not differ.",
    )


def predictability(data: StudyResults, scores: pl.DataFrame) -> Finding | None:
    """Whether the model finds its own text more predictable than the real text of the same source."""
    rows = []
    for source in data.sources:
        values = [
            median(scores, source, origin, column)
            for column in ("perplexity", "min_k_plus_plus")
            for origin in ("real", "synthetic")
        ]
        rows.append([v for v in values if v is not None])
    rows = [row for row in rows if len(row) == 4]
    if not rows:
        return None
    lower = sum(generated < real for real, generated, _, _ in rows)
    higher = sum(generated > real for _, _, real, generated in rows)
    ratio = math.exp(sum(math.log(generated / real) for real, generated, _, _ in rows) / len(rows))
    return Finding(
        f"By medians, self-generated text has lower perplexity under the unpruned model than real text for {lower} of "
        f"{len(rows)} sources (on average {number(ratio, 2)} times that of real text) and higher Min-K%++ for "
        f"{higher} of {len(rows)}.",
        "Decoding at a low temperature lowers perplexity by itself; this does not say that the text is better.",
    )


def at_chance(data: StudyResults) -> Finding | None:
    """Tasks on which the dense model only guesses."""
    if not data.at_chance:
        return None
    said = []
    for measure in data.at_chance:
        dense = cell_estimate(data, DENSE, measure)
        if dense is not None and measure.chance is not None:
            value, chance = number(dense.mean, measure.decimals), number(100 * measure.chance, 1)
            said.append(f"{measure.label} ({value} % against {chance} %)")
    return Finding(
        f"The dense model is within two standard errors of guessing on {', '.join(said)}.",
        "No differences are read on such a task; the tables show it for completeness.",
    )


def pruned_at_chance(data: StudyResults) -> list[Finding]:
    """Per sparsity, tasks above chance for the dense model on which most pruned models only guess."""
    found = []
    for sparsity in data.sparsities:
        labels = [m.label for m in data.accuracies if m not in data.at_chance and data.mostly_guessing(sparsity, m)]
        if labels:
            found.append(
                Finding(
                    f"At {sparsity_label(sparsity)} sparsity most pruned models are within two standard errors of "
                    f"guessing on {', '.join(labels)}.",
                    "No differences are read there; the tables show them.",
                )
            )
    return found


def seeds_for_next_time(data: StudyResults) -> Finding | None:
    """How many seeds would find a small difference, given the spread of the paired differences seen here."""
    paired = [key for key in data.combinations() if any(by_source(data, *key, m) for m in data.outcomes)]
    if not paired:
        return None
    sparsity, method = paired[-1]
    said = []
    for measure in data.outcomes:
        groups = list(by_source(data, sparsity, method, measure).values())
        if not groups:
            continue
        together = statistics.pooled(groups)
        if together.sd is None or together.low is None:
            continue
        if measure.kind == "perplexity":
            cells = [data.at(method, sparsity, source, "real") for source in data.sources]
            means = [e.mean for cell in cells if (e := cell_estimate(data, cell, measure)) is not None]
            effect = EFFECT["perplexity"] * sum(means) / len(means)
            shown = f"{number(effect, 2)} ({number(100 * EFFECT['perplexity'], 0)} %) in {measure.name}"
        else:
            effect = EFFECT["accuracy"]
            shown = f"{number(effect, 1)} points in {measure.name}"
        needed = statistics.seeds_needed(together.sd, effect)
        said.append(f"{shown} would need about {number(needed, 0)} seeds a source")
    if not said:
        return None
    return Finding(
        f"To find in one source, with 80 % power at {sparsity_label(sparsity)} sparsity, a difference of "
        f"{'; one of '.join(said)}.",
        "The spread behind this is itself an estimate from few seeds.",
    )


def interval_width(seeds: int) -> float | None:
    """Half the width of a 95 % t interval of one source in standard deviations; None with one seed."""
    if seeds < 2:
        return None
    return float(stats.t.ppf(0.975, seeds - 1)) / math.sqrt(seeds)


def limitations(data: StudyResults) -> list[str]:
    """What no reader should take the numbers for."""
    counts = [len(data.values(c, m)) for c in data.main_cells if c.source is not None for m in data.outcomes]
    seeds = max(counts, default=0)
    width = interval_width(seeds)
    said = ["One model was pruned; other models, larger ones above all, may behave differently."]
    if width is None:
        said.append("One seed a source: no interval can be given, and any difference may be the luck of the draw.")
    else:
        said.append(
            f"With {seeds} seeds a source, the 95 % interval of one source reaches {number(width, 1)} standard "
            "deviations to either side of its mean. Pooling over sources narrows it, at the price of assuming that "
            "seeds scatter alike in every source."
        )
    said.append(
        "Intervals cover the draw of the calibration set. They do not cover the choice of evaluation items, the draw "
        "of the sources, or another run of generation: generated text was drawn once for each source."
    )
    said.append(
        "Sets of different seeds are drawn from the same text and may share parts of it, generated ones above all, "
        "which come from one small pool for each source; the spread between seeds is then smaller than that between "
        "independent sets."
    )
    if len(data.sources) > 1:
        said.append(
            f"{len(data.sources)} sources that someone chose are not a random sample of all text; the rows 'sources as "
            "a sample' show what they would say if they were."
        )
    return said
