"""Studies of which the truth is known: for each claim a grid of runs, and worlds in which it holds and does not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from calibrant.reporting.results.cells import DENSE, Cell
from calibrant.reporting.results.index import Study
from calibrant.reporting.results.result_frame import COLUMNS
from calibrant.reporting.results.samples import SCORES

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
TASKS = {"arc_easy": ("acc", 0.25), "hellaswag": ("acc_norm", 0.25)}
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
    sd: float = 0.03
    deviations: tuple[Truth, Truth] | None = None  # where the claim is about the deviation itself
    seeds: int = 8
    magnitude: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def frame(self, truth: str, rng: np.random.Generator, noise: float = 1.0, seeds: int | None = None) -> pl.DataFrame:
        """A result frame of two tasks with the columns of `results.collect`."""
        mean = self.holds if truth == "holds" else self.fails
        spread: Truth = lambda cell: self.sd  # noqa: E731
        if self.deviations is not None:
            spread = self.deviations[truth != "holds"]
        rows = _rows(DENSE, None, 75.0)
        if self.magnitude is not None:
            rows += _rows(Cell("magnitude", "0.6"), None, self.magnitude)
        for cell in self.cells:
            for seed in range(self.seeds if seeds is None else seeds):
                rows += _rows(cell, seed, mean(cell) + noise * spread(cell) * float(rng.standard_normal()))
        return pl.DataFrame(rows, schema=COLUMNS)


def _rows(cell: Cell, seed: int | None, score: float) -> list[dict[str, Any]]:
    """One run: two tasks whose average is the score, and a perplexity that goes the same way."""
    fixed = {**cell._asdict(), "model": "a-model", "seed": seed, "num_fewshot": 0, "split": "test"}
    found = [
        {**fixed, "task": task, "metric": metric, "value": (score + shift) / 100, "stderr": 0.005, "n": 10_000}
        for (task, (metric, _)), shift in zip(TASKS.items(), (3.0, -3.0), strict=True)
    ]
    perplexity = float(np.exp((160 - score) / 20))  # one point more: 5 % less perplexity
    return [*found, {**fixed, "task": "fiction", "metric": "perplexity", "value": perplexity, "stderr": 0.1, "n": 1000}]


def text_scores(rng: np.random.Generator, shift: float, rows: int = 60, spread: float = 0.3) -> pl.DataFrame:
    """Min-K%++ of real and generated rows of each source; generated ones are `shift` higher."""
    found = [
        (source, origin, None, i, 20 + float(rng.random()), level + spread * float(rng.standard_normal()), 64)
        for source in SOURCES
        for origin, level in (("real", -1.0), ("synthetic", -1.0 + shift))
        for i in range(rows)
    ]
    return pl.DataFrame(found, schema=SCORES, orient="row")


def generated(gain: float, worst: str = "") -> Truth:
    """Generated text is better by `gain`, but for one source, where it is worse by as much."""

    def score(cell: Cell) -> float:
        sign = -1 if cell.source == worst else 1
        return 60 + 0.1 * RANK[cell.source or ""] + (sign * gain if cell.origin == "synthetic" else 0)

    return score


def by_rank(step: Callable[[Cell], float]) -> Truth:
    """Sources differ by `step` from one rank to the next."""
    return lambda cell: 60 + RANK[cell.source or ""] * step(cell)


WORLDS: dict[str, World] = {
    "spread_small_below_half": World(
        grid(("0.3", "0.4"), origins=["real"]),
        holds=lambda c: 60,
        fails=lambda c: 59 if c.source == "wikipedia" else 60,
    ),
    "spread_grows_with_sparsity": World(
        grid(("0.5", "0.6"), origins=["real"]),
        holds=by_rank(lambda c: 0.7 if c.sparsity == "0.6" else 0.1),
        fails=by_rank(lambda c: 0.1 if c.sparsity == "0.6" else 0.7),
    ),
    "spread_grows_with_structure": World(
        grid(("0.5", "4:8", "2:4"), origins=["real"]),
        holds=by_rank(lambda c: {"0.5": 0.1, "4:8": 0.4, "2:4": 0.7}[c.sparsity]),
        fails=by_rank(lambda c: {"0.5": 0.7, "4:8": 0.4, "2:4": 0.1}[c.sparsity]),
    ),
    "some_sources_below_magnitude": World(
        grid(origins=["real"]),
        holds=lambda c: 57 if c.source == "wikipedia" else 60,
        fails=lambda c: 60,
        magnitude=58.0,
    ),
    "data_outweighs_method": World(
        grid(methods=("wanda", "dsnot", "owl")),
        holds=lambda c: 60 + RANK[c.source or ""] + 0.2 * (c.method == "owl"),
        fails=lambda c: 60 + 0.1 * RANK[c.source or ""] + 2 * (c.method == "owl"),
    ),
    "amount_does_not_matter": World(
        grid(("2:4",), origins=["real"], samples=(64, 128, 512, 2048)),
        holds=lambda c: 58 if c.samples == 64 else 60,
        fails=lambda c: 61 if c.samples == 2048 and c.source == "c4" else 60,
    ),
    "amount_does_not_close_gaps": World(
        grid(("2:4",), origins=["real"], samples=(64, 128, 2048)),
        holds=by_rank(lambda c: 0.6),
        fails=by_rank(lambda c: 0.1 if c.samples == 2048 else 0.6),
    ),
    "deviation_falls_with_amount": World(
        grid(("2:4",), origins=["real"], samples=(64, 512, 2048)),
        holds=lambda c: 60,
        fails=lambda c: 60,
        deviations=(lambda c: 1.6 / (c.samples or 1) ** 0.5, lambda c: 0.01 * (c.samples or 1) ** 0.5),
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
    "generated_beats_training_data": World(
        grid(), generated(1.0), generated(-1.0)
    ),
    "alike_whatever_source": World(
        grid(origins=["synthetic"]), lambda c: 60, lambda c: 59 if c.source == "wikipedia" else 60
    ),
    "gain_in_patterns": World(grid(("4:8", "2:4")), generated(0.8), generated(-0.8)),
    "any_prefix_beats_real": World(
        grid(prefixes=(0, 1, 4, 64)),
        holds=lambda c: 60 + {None: 0, 0: -2, 1: 1, 4: 1, 64: 0.5}[c.prefix_length],
        fails=lambda c: 60 + {None: 0, 0: 2, 1: 1, 4: 1, 64: -0.5}[c.prefix_length],
    ),
    "short_prefixes_beat_long": World(
        grid(prefixes=(0, 1, 4, 64, 256)),
        holds=lambda c: 60 + {None: 0, 0: 0, 1: 1, 4: 1, 64: 0.5, 256: 0.2}[c.prefix_length],
        fails=lambda c: 60 + {None: 0, 0: 0, 1: 0, 4: 0, 64: 0.5, 256: 0.2}[c.prefix_length],
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
}  # fmt: skip
