"""What each conclusion should be in a world of which the true means and deviations are known.

Written from the true means alone, and not by the code that judges: True where the conclusion holds, False where its
opposite does, None where neither does (a difference of exactly zero), so that any verdict would be wrong.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from simulated_worlds import SOURCES, World, texts_of

from calibrant.reporting.results.cells import Text, in_order, target_of_run

LIMIT = 2.77  # deviations between sets: what is alike differs by less
SHARED = 0.5  # correlation of methods on one set
Truth = bool | None


def every(differences: Iterable[float], margin: float = 0.0) -> Truth:
    """All above minus the margin, or one below it."""
    found = [round(d, 9) + margin for d in differences]
    return True if min(found) > 0 else False if min(found) < 0 else None


def some(differences: Iterable[float]) -> Truth:
    """One above zero, or all below."""
    top = round(max(differences), 9)
    return True if top > 0 else False if top < 0 else None


def alike(differences: Iterable[float], margin: float) -> Truth:
    """All nearer to zero than the margin, or one farther away."""
    top = max(map(abs, differences))
    return True if top < margin else False if top > margin else None


class Truths:
    """The true values of a world, as means over methods."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sparsities = in_order([cell.target for cell in world.means])

    def methods(self, *sparsities: str) -> tuple[str, ...]:
        """Those with real text at all of these sparsities."""
        found = dict.fromkeys(cell.method for cell in self.world.means)
        return tuple(m for m in found if all(texts_of(self.world, s, (m,)) for s in sparsities))

    def mean(self, text: Text, sparsity: str, methods: Sequence[str], *, language: bool = False) -> float:
        """The mean of the methods."""
        means = self.world.language if language else self.world.means
        return sum(means[text.cell(m, sparsity)] for m in methods) / len(methods)

    def deviation(self, text: Text, sparsity: str, methods: Sequence[str]) -> float:
        """The deviation between sets of the mean of the methods."""
        sds = [self.world.sds[text.cell(m, sparsity)] for m in methods]
        variance = SHARED * sum(sds) ** 2 + (1 - SHARED) * sum(sd * sd for sd in sds)
        return math.sqrt(variance) / len(sds)

    def margin(self, texts: Iterable[Text], sparsity: str, methods: Sequence[str]) -> float:
        """What two sets of one text differ by, 95 times of 100."""
        variances = [self.deviation(text, sparsity, methods) ** 2 for text in texts]
        return LIMIT * math.sqrt(sum(variances) / len(variances))

    def gap(self, sparsity: str, methods: Sequence[str], samples: int | None = None) -> float:
        """Other real texts minus Wikipedia."""
        texts = texts_of(self.world, sparsity, tuple(methods))
        if samples is not None:
            texts = {s: text._replace(samples=samples) for s, text in texts.items()}
        values = {s: self.mean(text, sparsity, methods) for s, text in texts.items()}
        others = [value for s, value in values.items() if s != "wikipedia"]
        return round(sum(others) / len(others) - values["wikipedia"], 9)

    def pairs(self, sparsity: str, origin: str) -> Truth:
        """Whether texts are alike at a sparsity."""
        methods = self.methods(sparsity)
        texts = list(texts_of(self.world, sparsity, methods, origin).values())
        values = [self.mean(text, sparsity, methods) for text in texts]
        return alike((a - b for a, b in combinations(values, 2)), self.margin(texts, sparsity, methods))

    def gain(self, sparsity: str, methods: Sequence[str], *, language: bool = False) -> float:
        """Generated minus real text, mean of the sources that have both."""
        real, written = (texts_of(self.world, sparsity, tuple(methods), o) for o in ("real", "synthetic"))
        each = [
            self.mean(written[s], sparsity, methods, language=language)
            - self.mean(real[s], sparsity, methods, language=language)
            for s in written
        ]
        return sum(each) / len(each)

    def written_at(self, sparsity: str) -> tuple[str, ...]:
        """The methods that were run on generated text."""
        return tuple(m for m in self.methods(sparsity) if texts_of(self.world, sparsity, (m,), "synthetic"))

    def growth(self, first: str, last: str) -> Truth:
        """Whether the gap is there and grows."""
        methods = self.methods(first, last)
        one, two = self.gap(first, methods), self.gap(last, methods)
        return None if one + two <= 0 or one == two else two > one


def truths(world: World) -> dict[str, Truth]:
    """The truth of each conclusion that the design has runs for."""
    of = Truths(world)
    everything = of.methods("0.6")
    real, written = (texts_of(world, "0.6", everything, origin) for origin in ("real", "synthetic"))
    ratios = [s for s in of.sparsities if ":" not in s]
    by_text = {s: of.mean(text, "0.6", everything) for s, text in real.items()}
    by_method = [sum(of.mean(t, "0.6", [m]) for t in real.values()) / len(real) for m in everything]
    span = max(by_text.values()) - min(by_text.values()) - (max(by_method) - min(by_method))
    each = [of.mean(written[s], "0.6", [m]) - of.mean(real[s], "0.6", [m]) for m in everything for s in written]
    found: dict[str, Truth] = {
        "spread_grows_with_sparsity": of.growth(ratios[0], ratios[-1]),
        "spread_grows_with_structure": of.growth("0.5", "2:4"),
        "some_sources_below_magnitude": some(
            world.magnitude["0.6"] - of.mean(t, "0.6", [m]) for m in everything for t in real.values()
        ),
        "data_outweighs_method": every([span]),
        "quality_does_not_rank": every([of.gap("2:4", of.methods("2:4"))]),
        "generated_beats_every_source": every(each),
        "generated_beats_real": every([of.gain("0.6", everything)]),
        "alike_whatever_source": of.pairs("0.6", "synthetic"),
        **_settings(of),
        **_amounts(of),
    }
    mild = [of.pairs(s, "real") for s in ratios if target_of_run(s).sparsity < 0.5]
    if mild:
        found["spread_small_below_half"] = all(mild)
    if world.language:
        found["better_language_modelling"] = every([of.gain("0.6", everything, language=True)])
    if world.min_k is not None:
        found["generated_has_higher_min_k"] = every([world.min_k])
    if world.study.trained_on:
        found |= _training(of)
    return found


def _amounts(of: Truths) -> dict[str, Truth]:
    real = [cell for cell in of.world.means if cell.origin == "real" and cell.target == "2:4"]
    amounts = sorted({cell.samples for cell in real if cell.samples})
    methods = tuple(dict.fromkeys(cell.method for cell in real if cell.samples != of.world.main[0]))
    texts = texts_of(of.world, "2:4", methods)
    deviations = {
        n: sum(math.log(of.deviation(t._replace(samples=n), "2:4", methods)) for t in texts.values()) for n in amounts
    }
    found = {"deviation_falls_with_amount": every([_slope(deviations) * -1])}
    if 128 in amounts:
        beyond = [n for n in amounts if n >= 128]
        start = [t._replace(samples=128) for t in texts.values()]
        level = {n: sum(of.mean(t._replace(samples=n), "2:4", methods) for t in start) / len(start) for n in beyond}
        change = _slope(level) * math.log(beyond[-1] / 128)
        margin = of.margin(start, "2:4", methods)
        gaps = [of.gap("2:4", methods, n) for n in (128, beyond[-1])]
        found["amount_does_not_matter"] = alike([change], margin)
        found["amount_does_not_close_gaps"] = every([gaps[1] - gaps[0]], margin) if gaps[0] > 0 else None
    return found


def _slope(values: dict[int, float]) -> float:
    """Of the least-squares line over the logarithm of the number of samples."""
    return round(float(np.polyfit([math.log(n) for n in values], list(values.values()), 1)[0]), 9)


def _training(of: Truths) -> dict[str, Truth]:
    """Conclusions about the training data and C4, of the paper's design only."""
    methods = of.methods("0.6")
    real = {s: of.mean(text, "0.6", methods) for s, text in texts_of(of.world, "0.6", methods).items()}
    texts = texts_of(of.world, "0.6", methods, "synthetic")
    written = {s: of.mean(text, "0.6", methods) for s, text in texts.items()}
    ranks = np.polyfit(range(4), [of_similar(of, source) for source in ("wikipedia", "slimpajama", "c4", "dclm")], 1)
    over, margins = [], []
    for sparsity in of.sparsities:
        run = of.written_at(sparsity)
        if run:
            at, trained = texts_of(of.world, sparsity, run, "synthetic"), texts_of(of.world, sparsity, run)
            mean = sum(of.mean(t, sparsity, run) for t in at.values()) / len(at)
            over.append(mean - of.mean(trained["dclm"], sparsity, run))
            margins.append(of.margin(trained.values(), sparsity, run))
    return {
        "similarity_ranks_sources": every([round(float(ranks[0]), 9)]),
        "generated_beats_training_data": every([sum(written.values()) / len(SOURCES) - real["dclm"]]),
        "wikipedia_beats_c4": every([written["wikipedia"] - real["c4"]]),
        "gain_in_patterns": every(of.gain(s, of.written_at(s)) for s in ("4:8", "2:4")),
        "matches_training_data": every(over, min(margins)),
    }


def of_similar(of: Truths, source: str) -> float:
    """The mean of the methods on a real text at 2:4."""
    methods = of.methods("2:4")
    return of.mean(texts_of(of.world, "2:4", methods)[source], "2:4", methods)


def _settings(of: Truths) -> dict[str, Truth]:
    """Prefix lengths and filter rates: generated text of Wanda at 60 %, over the sources that have every value."""
    found: dict[str, Truth] = {}
    drops, prefixes = of_values(of, "drop"), of_values(of, "prefix_length")
    real = texts_of(of.world, "0.6", ("wanda",))
    level = sum(of.mean(real[s], "0.6", ["wanda"]) for s in drops[0.0][1]) / len(drops[0.0][1])
    at = {value: mean for value, (mean, _) in drops.items()}
    modest = [v for v in at if 0.1 <= v <= 0.2]
    middle = sum(at[v] for v in modest) / len(modest)
    more = [mean for v, mean in at.items() if v > 0.2]
    base = texts_of(of.world, "0.6", ("wanda",), "synthetic")
    start = [base[s]._replace(drop=0.0) for s in drops[0.0][1]]
    found["unfiltered_beats_real"] = every([at[0.0] - level])
    found["modest_filtering_helps"] = every([middle - at[0.0]])
    found["more_filtering_hurts"] = every([middle - sum(more) / len(more)])
    found["heavy_filtering_falls_back"] = alike([at[max(at)] - at[0.0]], of.margin(start, "0.6", ["wanda"]))
    if len(prefixes) > 1:
        level = of.mean(real["wikipedia"], "0.6", ["wanda"])
        lengths = {value: mean for value, (mean, _) in prefixes.items()}
        short = [mean for v, mean in lengths.items() if 1 <= v <= 4]
        long = [mean for v, mean in lengths.items() if v > 4]
        found["any_prefix_beats_real"] = every(mean - level for v, mean in lengths.items() if v >= 1)
        found["short_prefixes_beat_long"] = every([sum(short) / len(short) - sum(long) / len(long)])
    return found


def of_values(of: Truths, name: str) -> dict[float, tuple[float, list[str]]]:
    """By value of a setting the mean over the sources that have every value, and these."""
    base = texts_of(of.world, "0.6", ("wanda",), "synthetic")
    values = sorted({v for cell in of.world.means if (v := getattr(cell, name)) is not None})
    lines = {s: {v: text._replace(**{name: v}).cell("wanda", "0.6") for v in values} for s, text in base.items()}
    full = [s for s, line in lines.items() if all(cell in of.world.means for cell in line.values())]
    return {v: (sum(of.world.means[lines[s][v]] for s in full) / len(full), full) for v in values}
