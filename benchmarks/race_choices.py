"""Which measure to choose a text by, and which set to hand over: the tables, from measured matrices.

    .venv/bin/python benchmarks/race_choices.py reports/kept/race/measured.parquet

Measures. `between texts` is the standard deviation of the texts' true losses (moments), `sets` that between sets of one
text, `documents` that of a difference of two texts by which documents judge it; all per cent of what is measured.
`ratio` is the first over the root of the error variance of a text's mean over four sets. `regret` is how much worse on
the other half of the documents, over all sets, the text is that a half and four sets choose: in perplexity and in
divergence.

Sets. For every draw of two sets and the one set of both their blocks: the loss on the test half of documents relative
to the mean of single sets, per cent (below zero is better), of the set that is better on the selection half and of the
joined one. The error is over the draws. Best of n: the same for the best of more sets, chosen by one measure and judged
in perplexity and in divergence.
"""

import argparse
import itertools
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from calibrant.race.judging_tokens import components
from calibrant.race.losses import Losses, Purpose, read_losses, scale
from calibrant.race.set_variances import Array

MEASURES = ("perplexity", "kl", "agreement")
SPLITS = 400
SETS = 4  # of a text, for the choice


class Matrix:
    """Sums of one measure of every set on every document [text][set, D], and the documents' tokens [D]."""

    def __init__(self, table: pa.Table, target: str, evaluation: str, measure: str, kind: str = "s") -> None:
        self.name = Purpose(evaluation, measure).name
        rows = [
            row
            for row in _of(table, target, evaluation).to_pylist()
            if row["measure"] == self.name and row["set"].startswith(kind)
        ]
        self.texts = sorted({row["text"] for row in rows})
        self.numbers = sorted({row["number"] for row in rows})
        self.sets = sorted({row["set"] for row in rows})
        self.sums = np.zeros((len(self.texts), len(self.sets), len(self.numbers)))
        self.counts = np.zeros(len(self.numbers))
        for row in rows:
            number = self.numbers.index(row["number"])
            self.sums[self.texts.index(row["text"]), self.sets.index(row["set"]), number] = row["sum"]
            self.counts[number] = row["count"]

    def losses(self, documents: Array) -> Array:
        """Losses [text, set] on documents, by their places."""
        means = self.sums[:, :, documents].sum(axis=-1) / self.counts[documents].sum()
        of = scale(self.name)[0]
        return np.array([[of(float(each)) for each in row] for row in means])


def _of(table: pa.Table, target: str, evaluation: str) -> pa.Table:
    return table.filter(pc.and_(pc.equal(table["target"], target), pc.equal(table["evaluation"], evaluation)))


def _losses(table: pa.Table, target: str, evaluation: str, measure: str) -> Losses:
    own = _of(table, target, evaluation)
    names = [f"{number} {n}" for number, n in zip(own["number"].to_pylist(), own["count"].to_pylist(), strict=True)]
    own = own.append_column("unit", pa.array(names))
    single = {
        text: [
            own.filter(pc.and_(pc.equal(own["text"], text), pc.equal(own["set"], each)))
            for each in sorted({s for s in own["set"].to_pylist() if s.startswith("s")})
        ]
        for text in sorted(set(own["text"].to_pylist()))
    }
    return read_losses(single, [Purpose(evaluation, measure)])


def measure_line(table: pa.Table, target: str, evaluation: str, measure: str) -> str:
    """A row of the table of measures."""
    losses = _losses(table, target, evaluation, measure)
    found = components(losses)
    evidence = losses.evidence(list(losses.scores))
    tokens = sum(float(sizes.sum()) for sizes in losses.sizes)
    error = found.mean_variance(SETS, tokens)
    between = math.sqrt(
        max(0.0, float(evidence.means.var(ddof=1)) - found.mean_variance(float(evidence.sets[0]), tokens))
    )
    documents = math.sqrt(2 * found.documents / tokens)
    sets = math.sqrt(float(evidence.variances.mean()))
    regrets = ", ".join(f"{100 * each:.2f}" for each in _regrets(table, target, evaluation, measure))
    return (
        f"| {evaluation}, {target} | {measure} | {100 * between:.2f} | {100 * sets:.2f} | {100 * documents:.2f} | "
        f"{between / math.sqrt(error):.2f} | {regrets} |"
    )


def _regrets(table: pa.Table, target: str, evaluation: str, measure: str) -> list[float]:
    chooser = Matrix(table, target, evaluation, measure)
    judges = [Matrix(table, target, evaluation, each) for each in ("perplexity", "kl")]
    rng = np.random.default_rng(0)
    found: list[list[float]] = [[], []]
    count = len(chooser.numbers)
    for _ in range(SPLITS):
        order = rng.permutation(count)
        here, there = order[: count // 2], order[count // 2 :]
        own = chooser.losses(here)
        picked = np.array([row[rng.permutation(len(row))[:SETS]].mean() for row in own])
        for number, judge in enumerate(judges):
            means = judge.losses(there).mean(axis=1)
            found[number].append(float(means[np.argmin(picked)] - means.min()))
    return [float(np.mean(each)) for each in found]


def set_line(table: pa.Table, target: str, evaluation: str, measure: str) -> str | None:
    """A row of the table of sets; None where no joined sets were measured."""
    single, joined = (Matrix(table, target, evaluation, measure, kind) for kind in ("s", "m"))
    if not joined.sets:
        return None
    common = [number for number in joined.numbers if number in single.numbers]
    at = [np.array([each.numbers.index(number) for number in common]) for each in (single, joined)]
    rng = np.random.default_rng(0)
    better, together = [], []
    for text, draw in itertools.product(range(len(single.texts)), range(len(joined.sets))):
        two = slice(2 * draw, 2 * draw + 2)
        gains: list[tuple[float, float]] = []
        for _ in range(SPLITS // 4):
            order = rng.permutation(len(common))
            here, there = order[: len(common) // 2], order[len(common) // 2 :]
            chosen = int(np.argmin(single.losses(at[0][here])[text, two]))
            test = single.losses(at[0][there])[text]
            mean = test[two].mean()
            gains.append((test[two][chosen] - mean, joined.losses(at[1][there])[text, draw] - mean))
        better.append(np.mean([each[0] for each in gains]))
        together.append(np.mean([each[1] for each in gains]))
    cells = [f"{_told(better)} | {_told(together)} | {_told(np.array(better) - np.array(together))}"]
    return f"| {evaluation}, {target} | {measure} | {len(better)} | {cells[0]} |"


def _told(values: object) -> str:
    found = 100 * np.asarray(values, dtype=np.float64)
    return f"{found.mean():.2f} ± {found.std(ddof=1) / math.sqrt(len(found)):.2f}"


def best_of_line(table: pa.Table, target: str, evaluation: str, measure: str) -> str:
    """How much better than its text's mean the best of 2, 4 and 8 sets by a measure is on the other half."""
    chooser = Matrix(table, target, evaluation, measure)
    judges = [Matrix(table, target, evaluation, each) for each in ("perplexity", "kl")]
    rng = np.random.default_rng(0)
    count = len(chooser.numbers)
    found: dict[tuple[int, int], list[float]] = {}
    for _ in range(SPLITS):
        order = rng.permutation(count)
        here = chooser.losses(order[: count // 2])
        there = [judge.losses(order[count // 2 :]) for judge in judges]
        for text in range(len(chooser.texts)):
            drawn = rng.permutation(len(chooser.sets))
            for number, n in itertools.product(range(2), (2, 4, 8)):
                if n <= len(drawn):
                    best = drawn[:n][np.argmin(here[text][drawn[:n]])]
                    found.setdefault((number, n), []).append(there[number][text][best] - there[number][text].mean())
    cells = " | ".join(
        f"{100 * np.mean(found[number, n]):.2f}" if (number, n) in found else ""
        for number, n in itertools.product(range(2), (2, 4, 8))
    )
    return f"| {evaluation}, {target} | {measure} | {cells} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrices", type=Path)
    options = parser.parse_args()
    table = pq.read_table(options.matrices)
    cases = sorted(set(zip(table["evaluation"].to_pylist(), table["target"].to_pylist(), strict=True)), reverse=True)
    print("| judged on | measure | between texts | sets | documents | ratio | regret: perplexity, divergence |")
    print("|---|---|---|---|---|---|---|")
    for evaluation, target in cases:
        for measure in MEASURES:
            print(measure_line(table, target, evaluation, measure))
    print("\n| judged on | measure | draws | better of two | both blocks | difference |\n|---|---|---|---|---|---|")
    for evaluation, target in cases:
        for measure in MEASURES[:2]:
            if row := set_line(table, target, evaluation, measure):
                print(row)
    print("\n| judged on | chosen by | perplexity: best of 2 | of 4 | of 8 | divergence: best of 2 | of 4 | of 8 |")
    print("|---|---|---|---|---|---|---|---|")
    for evaluation, target in cases:
        for measure in MEASURES:
            print(best_of_line(table, target, evaluation, measure))
    print(
        "\n| judged on | measure | between sets | documents, one token | sets and documents, one token |"
        "\n|---|---|---|---|---|"
    )
    for evaluation, target in cases:
        for measure in MEASURES[:2]:
            found = components(_losses(table, target, evaluation, measure))
            cells = " | ".join(f"{math.sqrt(each):.4f}" for each in (found.sets, found.documents, found.interaction))
            print(f"| {evaluation}, {target} | {measure} | {cells} |")


if __name__ == "__main__":
    main()
