"""Studies of which the truth is known: for each claim a grid of runs, and worlds in which it holds and does not.

Deviations between sets are those that are seen: 0.2 points, and 3 % of the perplexity. Methods on one set share half of
its luck.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from calibrant.reporting.inference.claims import CLAIMS, Claim
from calibrant.reporting.inference.conclusions import Judgement, judge_study
from calibrant.reporting.inference.scope import Scope, to_training
from calibrant.reporting.results.cells import DENSE, Cell
from calibrant.reporting.results.index import Study
from calibrant.reporting.results.outcome import choose_outcome
from calibrant.reporting.results.result_frame import COLUMNS
from calibrant.reporting.results.samples import SCORES
from calibrant.reporting.results.study_results import Item, StudyResults

SOURCES = ("c4", "wikipedia", "slimpajama", "dclm")
RANK = {source: i for i, source in enumerate(("wikipedia", "slimpajama", "c4", "dclm"))}
SIMILARITY = pl.DataFrame(
    [
        ("dclm", "c4", "word", 3, 0.070, None),
        ("dclm", "slimpajama", "word", 3, 0.9, 0.016),
        ("dclm", "wikipedia", "word", 3, 0.008, None),
        ("c4", "wikipedia", "word", 3, 0.5, None),
        ("dclm", "wikipedia", "char", 5, 0.6, None),
    ],
    schema=["reference", "source", "unit", "n", "jaccard", "exact"],
    orient="row",
)
STUDY = Study("simulated", "a-model", trained_on=("dclm",))
TASKS = {"arc_easy": "acc", "hellaswag": "acc_norm"}
SD = 0.2  # points, between sets of one text
PERPLEXITY = 0.15  # one point more: so much less in the logarithm, and 3 % for one deviation
LUCK = 0.5  # share of the variance between sets that methods on one set have in common
BY_NAME = {claim.name: claim for claim in CLAIMS}
Truth = Callable[[Cell], float]


def grid(
    sparsities: Iterable[str] = ("0.6",),
    methods: Iterable[str] = ("wanda", "dsnot"),
    sources: Iterable[str] = SOURCES,
    origins: Iterable[str] = ("real", "synthetic"),
    samples: Iterable[int] = (128,),
    prefixes: Iterable[int] = (4,),
    drops: Iterable[float] = (0.2,),
) -> list[Cell]:
    """All cells of a grid; real text once, whatever the prefix length and the filter rate."""
    found: dict[Cell, None] = {}
    for m, sp, s, o, n, p, d in product(methods, sparsities, sources, origins, samples, prefixes, drops):
        found[Cell(m, sp, s, o, n, *((None, None) if o == "real" else (p, d)))] = None
    return list(found)


@dataclass(frozen=True)
class World:
    """Runs of which the true means are known.

    `holds` and `fails` are true scores (per cent) by cell in worlds in which the claim holds and does not.
    """

    cells: list[Cell]
    holds: Truth
    fails: Truth
    sd: float = SD
    deviations: tuple[Truth, Truth] | None = None  # where the claim is about the deviation itself
    seeds: int = 8
    magnitude: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def scores(self, truth: str, rng: np.random.Generator, noise: float = 1.0, seeds: int | None = None) -> list[float]:
        """One study's scores: by cell, then by seed."""
        mean = self.holds if truth == "holds" else self.fails
        spread: Truth = lambda cell: self.sd  # noqa: E731
        if self.deviations is not None:
            spread = self.deviations[truth != "holds"]
        number = self.seeds if seeds is None else seeds
        texts = list(dict.fromkeys(cell.text for cell in self.cells))
        luck = dict(zip(texts, rng.standard_normal((len(texts), number)), strict=True))
        found: list[float] = []
        for cell in self.cells:
            drawn = math.sqrt(LUCK) * luck[cell.text] + math.sqrt(1 - LUCK) * rng.standard_normal(number)
            found += (mean(cell) + noise * spread(cell) * drawn).tolist()
        return found

    def frame(self, truth: str, rng: np.random.Generator, noise: float = 1.0, seeds: int | None = None) -> pl.DataFrame:
        """A result frame of two tasks with the columns of `results.collect`."""
        number = self.seeds if seeds is None else seeds
        runs = [(cell, seed) for cell in self.cells for seed in range(number)]
        rows = _rows(DENSE, None, 75.0)
        if self.magnitude is not None:
            rows += _rows(Cell("magnitude", "0.6"), None, self.magnitude)
        for (cell, seed), score in zip(runs, self.scores(truth, rng, noise, seeds), strict=True):
            rows += _rows(cell, seed, score)
        return pl.DataFrame(rows, schema=COLUMNS)

    def results(self, truth: str = "holds", rng: np.random.Generator | None = None, **options: Any) -> StudyResults:
        """The results of one study."""
        return StudyResults(self.frame(truth, rng or np.random.default_rng(0), **options), STUDY)


class Studies:
    """Many studies of one world, quickly: what was run stays, and values are new."""

    def __init__(self, world: World, truth: str = "holds", seeds: int | None = None) -> None:
        self.world, self.truth, self.seeds = world, truth, seeds
        self.built = world.results(truth, seeds=seeds)
        self.items = {key: items for key, items in self.built._items.items() if not key[1].startswith("average")}

    def draw(self, rng: np.random.Generator) -> StudyResults:
        """Another study."""
        found = copy.copy(self.built)
        found._items, found._scores, found._chance = dict(self.items), {}, {}
        number = self.world.seeds if self.seeds is None else self.seeds
        scores = np.reshape(self.world.scores(self.truth, rng, seeds=self.seeds), (-1, number))
        for cell, new in zip(self.world.cells, scores, strict=True):
            for task, metric, values, error, n in _values(new):
                each = enumerate(values.tolist())
                found._items[cell, task, metric] = {seed: Item(value, error, n) for seed, value in each}
        return found


def _values(scores: Any) -> list[tuple[str, str, Any, float, int]]:
    """Task, metric, value, error and items: two tasks whose average is the score, and a perplexity beside it."""
    found = [
        (task, metric, (scores + shift) / 100, 0.005, 10_000)
        for (task, metric), shift in zip(TASKS.items(), (3.0, -3.0), strict=True)
    ]
    return [*found, ("fiction", "perplexity", np.exp(PERPLEXITY * (80 - scores)), 0.1, 1000)]


def _rows(cell: Cell, seed: int | None, score: float) -> list[dict[str, Any]]:
    """One run's rows."""
    fixed = {**cell.columns, "model": "a-model", "seed": seed, "num_fewshot": 0, "split": "test"}
    return [
        {**fixed, "task": task, "metric": metric, "value": float(value), "stderr": error, "n": n}
        for task, metric, value, error, n in _values(score)
    ]


def scope_of(data: StudyResults, outcome: str | None = None, **options: Any) -> Scope:
    """What conclusions are read from."""
    chosen = choose_outcome(data, outcome)
    assert chosen is not None
    return Scope(data, chosen, similarity=to_training(options.get("similarity"), data.study.trained_on))


def judge(name: str, data: StudyResults, outcome: str | None = None, **options: Any) -> Judgement:
    """One conclusion, alone in its family."""
    return judge_all([BY_NAME[name]], data, outcome, **options)[0]


def judge_all(
    claims: Sequence[Claim], data: StudyResults, outcome: str | None = None, **options: Any
) -> list[Judgement]:
    """Conclusions as one family, without the study's own comparisons."""
    judged = judge_study(data, outcome=outcome, claims=claims, own=False, **options)
    assert judged is not None
    return judged.claims


def text_scores(rng: np.random.Generator, shift: float, rows: int = 60, spread: float = 0.3) -> pl.DataFrame:
    """Min-K%++ of real and generated rows of each source; generated ones are `shift` higher."""
    found = [
        (source, origin, None, i, 20 + float(rng.random()), level + spread * float(rng.standard_normal()), 64)
        for source in SOURCES
        for origin, level in (("real", -1.0), ("synthetic", -1.0 + shift))
        for i in range(rows)
    ]
    return pl.DataFrame(found, schema=SCORES, orient="row")


def level(cell: Cell) -> float:
    """Nothing differs."""
    return 60.0


def generated(gain: float, worst: str = "") -> Truth:
    """Generated text is better by `gain`, but for one source, where it is worse by as much."""

    def score(cell: Cell) -> float:
        sign = -1 if cell.source == worst else 1
        return 60 + 0.1 * RANK[cell.source or ""] + (sign * gain if cell.origin == "synthetic" else 0)

    return score


def by_rank(step: Callable[[Cell], float]) -> Truth:
    """Sources differ by `step` from one rank to the next."""
    return lambda cell: 60 + RANK[cell.source or ""] * step(cell)


def at(name: str, values: dict[Any, float]) -> Truth:
    """The score depends on one setting."""
    return lambda cell: 60 + values[getattr(cell, name)]


def wikipedia_below(points: float) -> Truth:
    """Wikipedia is worse than all others."""
    return lambda cell: 60 - points * (cell.source == "wikipedia")


WORLDS: dict[str, World] = {
    "spread_small_below_half": World(grid(("0.3", "0.4"), origins=["real"]), level, wikipedia_below(1)),
    "spread_grows_with_sparsity": World(
        grid(("0.5", "0.6"), origins=["real"]),
        holds=by_rank(lambda c: 0.7 if c.target == "0.6" else 0.1),
        fails=by_rank(lambda c: 0.1 if c.target == "0.6" else 0.7),
    ),
    "spread_grows_with_structure": World(
        grid(("0.5", "4:8", "2:4"), origins=["real"]),
        holds=by_rank(lambda c: {"0.5": 0.1, "4:8": 0.4, "2:4": 0.7}[c.target]),
        fails=by_rank(lambda c: {"0.5": 0.7, "4:8": 0.4, "2:4": 0.1}[c.target]),
    ),
    "some_sources_below_magnitude": World(grid(origins=["real"]), wikipedia_below(3), level, magnitude=58.0),
    "data_outweighs_method": World(
        grid(methods=("wanda", "dsnot", "owl")),
        holds=lambda c: 60 + RANK[c.source or ""] + 0.2 * (c.method == "owl"),
        fails=lambda c: 60 + 0.1 * RANK[c.source or ""] + 2 * (c.method == "owl"),
    ),
    "amount_does_not_matter": World(
        grid(("2:4",), origins=["real"], samples=(64, 128, 512, 2048)),
        holds=at("samples", {64: -2, 128: 0, 512: 0, 2048: 0}),
        fails=at("samples", {64: -2, 128: 0, 512: 0.6, 2048: 1.2}),
    ),
    "amount_does_not_close_gaps": World(
        grid(("2:4",), origins=["real"], samples=(64, 128, 2048)),
        holds=by_rank(lambda c: 0.6),
        fails=by_rank(lambda c: 0.1 if c.samples == 2048 else 0.6),
    ),
    "deviation_falls_with_amount": World(
        grid(("2:4",), origins=["real"], samples=(64, 512, 2048)),
        holds=level,
        fails=level,
        deviations=(lambda c: SD * (128 / (c.samples or 1)) ** 0.5, lambda c: SD * ((c.samples or 1) / 128) ** 0.5),
        seeds=12,
    ),
    "similarity_ranks_sources": World(
        grid(("2:4",), origins=["real"]),
        holds=by_rank(lambda c: 0.4),
        fails=by_rank(lambda c: -0.4),
        options={"similarity": SIMILARITY},
    ),
    "quality_does_not_rank": World(grid(("2:4",), origins=["real"]), by_rank(lambda c: 0.4), by_rank(lambda c: -0.4)),
    "generated_beats_every_source": World(grid(), generated(1.0), generated(1.0, "wikipedia")),
    "generated_beats_real": World(grid(), generated(1.0), generated(-1.0)),
    "better_language_modelling": World(grid(), generated(1.0), generated(-1.0)),
    "generated_beats_training_data": World(grid(), generated(1.0), generated(-1.0)),
    "wikipedia_beats_c4": World(grid(), generated(1.0), generated(-1.0)),
    "alike_whatever_source": World(grid(origins=["synthetic"]), level, wikipedia_below(1)),
    "gain_in_patterns": World(grid(("4:8", "2:4")), generated(0.8), generated(-0.8)),
    "matches_training_data": World(
        grid(("0.5", "0.6", "2:4")), lambda c: 60 + RANK[c.source or ""] * (0.1 if c.origin == "real" else 0.2),
        generated(-1.0),
    ),
    "any_prefix_beats_real": World(
        grid(prefixes=(0, 1, 4, 64)),
        holds=at("prefix_length", {None: 0, 0: -2, 1: 1, 4: 1, 64: 0.5}),
        fails=at("prefix_length", {None: 0, 0: 2, 1: 1, 4: 1, 64: -0.5}),
    ),
    "short_prefixes_beat_long": World(
        grid(prefixes=(0, 1, 4, 64, 256)),
        holds=at("prefix_length", {None: 0, 0: 0, 1: 1, 4: 1, 64: 0.5, 256: 0.2}),
        fails=at("prefix_length", {None: 0, 0: 0, 1: 0, 4: 0, 64: 0.5, 256: 0.2}),
    ),
    "unfiltered_beats_real": World(grid(drops=(0.0, 0.2)), generated(1.0), generated(-1.0)),
    "modest_filtering_helps": World(
        grid(drops=(0.0, 0.1, 0.2, 0.5)),
        holds=lambda c: 61 if c.drop in (0.1, 0.2) else 60,
        fails=lambda c: 59 if c.drop in (0.1, 0.2) else 60,
    ),
    "more_filtering_hurts": World(
        grid(drops=(0.0, 0.1, 0.2, 0.5)),
        holds=lambda c: 61 if c.drop in (0.1, 0.2) else 60,
        fails=lambda c: 59 if c.drop in (0.1, 0.2) else 60,
    ),
    "heavy_filtering_falls_back": World(
        grid(drops=(0.0, 0.2, 0.5)),
        holds=at("drop", {None: 0, 0.0: 0, 0.2: 0.5, 0.5: 0}),
        fails=at("drop", {None: 0, 0.0: 0, 0.2: 0.5, 0.5: -1}),
    ),
}  # fmt: skip
