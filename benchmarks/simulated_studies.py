"""Studies drawn from a world, and judged."""

import copy
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
from simulated_truths import SHARED
from simulated_worlds import SOURCES, World

from calibrant.reporting.inference.conclusions import Judged, judge_study
from calibrant.reporting.results.cells import Cell
from calibrant.reporting.results.result_frame import COLUMNS
from calibrant.reporting.results.samples import SCORES
from calibrant.reporting.results.study_results import Item, StudyResults

Array = npt.NDArray[np.float64]
COMMON = 0.5  # share of a set's luck that its seed has in common with other numbers of samples and filter rates
LANGUAGE_SD = 0.4  # deviation of the perplexity that is measured besides, in per cent
ROWS = 100  # rows of text that have scores


class Simulation:
    """Studies of one world: the frame of one is made of columns that stay and values that are drawn."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cells = list(world.means)
        pools = list(dict.fromkeys((c.source, c.origin, c.prefix_length) for c in self.cells))
        texts = list(dict.fromkeys(c.text for c in self.cells))
        self._pool = np.array([pools.index((t.source, t.origin, t.prefix_length)) for t in texts])
        self._text = np.array([texts.index(c.text) for c in self.cells])
        self._measures = [(world.task, world.metric, list(world.means.values()), list(world.sds.values()))]
        if world.language:
            spread = [LANGUAGE_SD] * len(self.cells)
            values = [world.language[c] for c in self.cells]
            self._measures.append(("alpaca", "perplexity", values, spread))
        self._fixed = self._columns()
        self._built = StudyResults(self._fixed.with_columns(value=pl.lit(0.5)), world.study)

    def _columns(self) -> pl.DataFrame:
        bare = [Cell("dense", "0"), *(Cell("magnitude", s) for s in self.world.magnitude)]
        runs = [(cell, seed) for cell in self.cells for seed in range(self.world.seeds)]
        rows = []
        for task, metric, *_ in self._measures:
            rows += [{**c.columns, "seed": None, "task": task, "metric": metric} for c in bare]
            rows += [{**c.columns, "seed": seed, "task": task, "metric": metric} for c, seed in runs]
        fixed = {"model": self.world.study.model_id, "stderr": 1e-4, "n": 10_000, "num_fewshot": 0, "split": "test"}
        return pl.DataFrame([{**row, **fixed} for row in rows], schema=COLUMNS)

    def values(self, rng: np.random.Generator) -> Array:
        """One study's results, in the order of the rows."""
        seeds = self.world.seeds
        columns = []
        for _, metric, means, sds in self._measures:
            pools = rng.standard_normal((int(self._pool.max()) + 1, seeds))[self._pool]
            texts = math.sqrt(COMMON) * pools + math.sqrt(1 - COMMON) * rng.standard_normal(pools.shape)
            own = rng.standard_normal((len(self.cells), seeds))
            noise = math.sqrt(SHARED) * texts[self._text] + math.sqrt(1 - SHARED) * own
            scores = np.array(means)[:, None] + np.array(sds)[:, None] * noise
            bare = np.array([self.world.dense, *self.world.magnitude.values()])
            if metric == "perplexity" and self.world.language:
                bare = -100 * np.log(9.0) + 1.5 * (bare - self.world.dense)
            both = np.concatenate([bare, scores.ravel()])
            columns.append(np.exp(both / -100) if metric == "perplexity" else both / 100)
        return np.concatenate(columns)

    def frame(self, rng: np.random.Generator) -> pl.DataFrame:
        """One study's results, with the columns of `results.collect`."""
        return self._fixed.with_columns(value=self.values(rng))

    def results(self, rng: np.random.Generator) -> StudyResults:
        """`StudyResults(frame)`, faster: what a study has is the same each time, and only its values are new."""
        data = copy.copy(self._built)
        values = iter(self.values(rng).tolist())
        data._items = {
            key: {seed: Item(next(values), item.stderr, item.n) for seed, item in items.items()}
            for key, items in self._built._items.items()
        }
        data._scores, data._chance = {}, {}  # what was computed from another study's values
        return data

    def scores(self, rng: np.random.Generator) -> pl.DataFrame | None:
        """Min-K%++ of real rows of each source, and of rows generated from Wikipedia; None where it is not known."""
        if self.world.min_k is None:
            return None
        texts = [*((source, "real", 0.0) for source in SOURCES), ("wikipedia", "synthetic", self.world.min_k)]
        number = ROWS * len(texts)
        columns = {
            "source": [source for source, *_ in texts for _ in range(ROWS)],
            "origin": [origin for _, origin, _ in texts for _ in range(ROWS)],
            "seed": [0] * number,
            "sample_id": list(range(number)),
            "perplexity": rng.uniform(5, 20, number),
            "min_k_plus_plus": np.concatenate([shift + rng.standard_normal(ROWS) for *_, shift in texts]),
            "tokens": [2048] * number,
        }
        return pl.DataFrame(columns, schema=SCORES)

    def studies(self, replicas: int, seed: int) -> Iterator[Judged]:
        """Judge so many studies."""
        rng = np.random.default_rng(seed)
        for _ in range(replicas):
            data = self.results(rng)
            judged = judge_study(data, self.scores(rng), self.world.similarity, outcome=self.world.task)
            assert judged is not None
            yield judged
