"""Studies of which the truth is known: two designs, four worlds of each, and what each conclusion should be in them.

A world gives every run a true mean and deviation between sets, as scores (points, or -100 ln of the perplexity).

- published: the paper's Tables 1 and 2 and what its text says; of five seeds: as observed in reports/kept/five-seeds.
- null: no difference between texts, origins and settings; methods and sparsities keep their levels.
- opposite: the published differences with reversed sign.
- unlike: signs as published, but what the paper finds alike differs, and what it finds to grow shrinks.

The deviation between sets falls with the number of samples as published, stays in `null`, and rises in the last two.

Where the paper gives no number, these are chosen to agree with its words: means at 0.3 to 0.5, 0.65 and 4:8, DSnoT's
and OWL's there, generated text besides Table 2, amounts (a wave of 0.2 points), the prefixes of Figure 4, the filter
rates of Table 4, magnitude pruning, perplexities besides Table 2, and deviations besides Table 1 (0.2 points; 0.1 below
50 %; 0.4 % of the perplexity).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from calibrant.reporting.results.cells import COLUMNS_OF_CELL, Cell, Text, main_setting, target_of_run
from calibrant.reporting.results.index import Study
from calibrant.reporting.results.published.published_tables import tables

ROOT = Path(__file__).parents[1]
METHODS = ("wanda", "dsnot", "owl")
AMOUNTS = {64: -0.1, 128: 0.0, 256: 0.05, 512: 0.1, 1024: 0.05, 2048: 0.1}
PREFIXES = {0: -2.8, 1: 0.04, 2: 0.1, 4: 0.0, 8: -0.1, 16: -0.3, 32: -0.5, 64: -0.7, 128: -1.0, 256: -1.4, 512: -1.8,
            1024: -2.2}  # fmt: skip
DROPS = {0.0: -0.4, 0.1: 0.04, 0.2: 0.0, 0.3: -0.1, 0.4: -0.25, 0.5: -0.4}
# Means of Wanda on C4, Wikipedia, SlimPajama and DCLM, and on text generated from Wikipedia.
PLAUSIBLE = {
    "0.3": (70.94, 70.90, 70.93, 70.98, None),
    "0.4": (70.44, 70.40, 70.43, 70.48, None),
    "0.5": (68.40, 68.00, 68.25, 68.50, 68.60),
    "0.65": (58.70, 56.50, 58.20, 59.30, 59.60),
    "4:8": (65.30, 64.10, 65.10, 65.60, 65.80),
    "2:4": (None, None, None, None, 63.00),
}
OTHERS = {"wanda": 0.0, "dsnot": -0.6, "owl": 0.3}  # against Wanda, where no table has them
JACCARD = {"c4": 0.070, "slimpajama": 0.016, "wikipedia": 0.008}
SOURCES = ("c4", "wikipedia", "slimpajama", "dclm")


@dataclass(frozen=True)
class World:
    """Runs whose truth is known.

    Attributes:
        means, sds: of the score of each run that uses data, and its deviation between sets.
        magnitude: the score of magnitude pruning, by sparsity.
        dense: the dense model's score.
        seeds: sets of each text.
        task, metric: what is measured.
        language: means of the perplexity that is measured besides; empty where it is the outcome.
        min_k: by how many deviations generated rows exceed real ones; None without scores of texts.
        study: its name, model and training data.
        similarity: rows of `calibrant similarity`.
    """

    means: Mapping[Cell, float]
    sds: Mapping[Cell, float]
    magnitude: Mapping[str, float]
    dense: float
    seeds: int
    task: str
    metric: str
    study: Study
    language: Mapping[Cell, float] = field(default_factory=dict)
    min_k: float | None = None
    similarity: pl.DataFrame | None = None

    @property
    def main(self) -> tuple[int | None, int | None, float | None]:
        """Samples, prefix length and filter rate of most runs."""
        return main_setting(dict.fromkeys(self.means, self.seeds))

    def centres(self, means: Mapping[Cell, float]) -> dict[tuple[str, str], float]:
        """The mean over real texts of each method and sparsity."""
        found: dict[tuple[str, str], list[float]] = {}
        for cell, mean in means.items():
            if cell.origin == "real" and cell.samples == self.main[0]:
                found.setdefault((cell.method, cell.target), []).append(mean)
        return {key: sum(values) / len(values) for key, values in found.items()}

    def changed(self, to: Callable[[Cell, float], float], deviation: int, min_k: float) -> "World":
        """Each text's difference from the mean of its method and sparsity changed to another.

        Args:
            to: the new difference, of the run and the old difference.
            deviation: what the samples do to it: 1 as published, 0 nothing, -1 the opposite.
            min_k: what Min-K%++ is multiplied with.
        """
        both = []
        for means in (self.means, self.language):
            centres = self.centres(means)
            both.append({c: centres[c[:2]] + to(c, mean - centres[c[:2]]) for c, mean in means.items()})
        sds = {c: self._main_sd(c) * (sd / self._main_sd(c)) ** deviation for c, sd in self.sds.items()}
        return replace(
            self, means=both[0], language=both[1], sds=sds, min_k=None if self.min_k is None else min_k * self.min_k
        )

    def _main_sd(self, cell: Cell) -> float:
        return self.sds[cell._replace(samples=self.main[0])]


def cell_of(method: str, sparsity: str, source: str, origin: str, samples: int, **other: float) -> Cell:
    """A run's cell; generated text has a prefix of 4 tokens and 20 % dropped unless said otherwise."""
    if origin == "real":
        return Cell(method, sparsity, source, origin, samples)
    return Cell(method, sparsity, source, origin, samples, int(other.get("prefix", 4)), other.get("drop", 0.2))


def paper() -> World:
    """The paper's own design, and its numbers."""
    means: dict[Cell, float] = {}
    language: dict[Cell, float] = {}
    published = tables().filter(pl.col("table").is_in(["1", "2"]) & pl.col("task").is_in(["average", "alpaca"]))
    sds: dict[Cell, float] = {}
    for row in published.iter_rows(named=True):
        cell = cell_of(row["method"], row["sparsity"], row["source"], row["origin"], 128)
        if row["task"] == "alpaca":
            language[cell] = -100 * math.log(row["mean"])
        else:
            means[cell] = row["mean"]
            sds[cell] = row["sd"] or 0.2
    texts = [*((source, "real") for source in SOURCES), ("wikipedia", "synthetic")]
    for sparsity, values in PLAUSIBLE.items():
        for (source, origin), value in zip(texts, values, strict=True):
            run = METHODS if origin == "real" and sparsity != "0.65" else METHODS[:1]
            for method in run if value is not None else ():
                means[cell_of(method, sparsity, source, origin, 128)] = value + OTHERS[method]
    for method in METHODS[:2]:
        for source in SOURCES:
            at = cell_of(method, "2:4", source, "real", 128)
            means |= {at._replace(samples=n): means[at] + shift for n, shift in AMOUNTS.items()}
    at = cell_of("wanda", "0.6", "wikipedia", "synthetic", 128)
    means |= {at._replace(prefix_length=p): means[at] + shift for p, shift in PREFIXES.items()}
    means |= {at._replace(drop=d): means[at] + shift for d, shift in DROPS.items()}
    for cell, mean in means.items():
        plausible = 0.1 if target_of_run(cell.target).sparsity < 0.5 else 0.2
        sds[cell] = sds.get(cell._replace(samples=128), plausible) * math.sqrt(128 / (cell.samples or 128))
        language.setdefault(cell, -100 * math.log(9.6) + 1.5 * (mean - 64))
    rows = [("dclm", source, "word", 3, value, None) for source, value in JACCARD.items()]
    columns = ["reference", "source", "unit", "n", "jaccard", "exact"]
    magnitude = {"0.3": 70.9, "0.4": 70.2, "0.5": 67.8, "0.6": 63.6, "4:8": 63.0, "2:4": 61.5}
    study = Study("simulated", "apple/DCLM-7B", sources=tuple((s, s) for s in SOURCES), trained_on=("dclm",))
    similarity = pl.DataFrame(rows, schema=columns, orient="row")
    return World(means, sds, magnitude, 71.5, 20, "seven_tasks", "acc", study, language, 1.0, similarity)


def five_seeds() -> World:
    """The kept study five-seeds: its design, its means and deviations."""
    frame = pl.read_csv(ROOT / "reports/kept/five-seeds/results.csv").with_columns(
        score=-100 * pl.col("value").log(), source=pl.col("source").replace("", None)
    )
    grouped = frame.group_by(COLUMNS_OF_CELL, maintain_order=True).agg(
        mean=pl.col("score").mean(), sd=pl.col("score").std(), n=pl.len()
    )
    rows = [(Cell(*row[:7]), *row[7:]) for row in grouped.iter_rows()]
    data = [(cell, mean, sd) for cell, mean, sd, _ in rows if cell.source is not None]
    magnitude = {cell.target: mean for cell, mean, *_ in rows if cell.method == "magnitude"}
    dense = next(mean for cell, mean, *_ in rows if cell.method == "dense")
    means, sds = {c: mean for c, mean, _ in data}, {c: sd for c, _, sd in data}
    return World(means, sds, magnitude, dense, 5, "fiction", "perplexity", Study("simulated", "five seeds"))


DESIGNS: dict[str, Callable[[], World]] = {"paper": paper, "five-seeds": five_seeds}
SIZES = {  # of the differences between real texts in `unlike`
    "paper": {"0.3": 40.0, "0.4": 40.0, "0.5": 8.0, "0.65": 0.3},
    "five-seeds": {"0.5": 4.0, "2:4": 0.2},
}
CLOSING = {256: 0.8, 512: 0.5, 1024: 0.2, 2048: 0.0}
APART = {
    "paper": {"c4": 1.0, "slimpajama": -1.0, "dclm": 2.0, 0.5: -2.0},
    "five-seeds": {"wikipedia": 15.0, "news": -15.0, "speech": 30.0, 0.5: -20.0},
}


def world_of(design: str, name: str) -> World:
    """A world of a design."""
    published = DESIGNS[design]()

    def unlike(cell: Cell, difference: float) -> float:
        if cell.origin == "synthetic":
            return difference + APART[design].get(cell.source, 0.0) + APART[design].get(cell.drop, 0.0)
        closing = CLOSING.get(cell.samples or 0, 1.0) * SIZES[design].get(cell.target, 1.0)
        steps = math.log2((cell.samples or 128) / 128) if design == "paper" else 0.0
        return closing * difference + 0.3 * max(0.0, steps)

    if name == "null":
        flat = published.changed(lambda cell, difference: 0.0, 0, 0.0)
        level = min(mean for cell, mean in flat.means.items() if cell.target == "0.6")
        return replace(flat, magnitude={**flat.magnitude, "0.6": level})
    if name == "opposite":
        centre = published.centres(published.means)["wanda", "0.6"]
        turned = published.changed(lambda cell, difference: -difference, -1, -1.0)
        return replace(turned, magnitude={**turned.magnitude, "0.6": 2 * centre - turned.magnitude["0.6"]})
    return published.changed(unlike, -1, 1.0) if name == "unlike" else published


WORLDS = ("published", "null", "opposite", "unlike")


def texts_of(world: World, sparsity: str, methods: tuple[str, ...], origin: str = "real") -> dict[str, Text]:
    """The texts of the main setting, by source, that all these methods were calibrated on."""
    samples, prefix, drop = world.main
    settings = (samples, None, None) if origin == "real" else (samples, prefix, drop)
    sources = dict.fromkeys(cell.source for cell in world.means)
    found = {s: Text(s, origin, *settings) for s in sources if s is not None}
    return {s: t for s, t in found.items() if all(t.cell(m, sparsity) in world.means for m in methods)}
