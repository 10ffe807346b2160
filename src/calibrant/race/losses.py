"""Losses of every set on every document, from the files of measures, on one scale for all measures.

The loss of a set is taken on a logarithmic scale, so that 0.01 is one per cent of whatever is measured: of the
perplexity, of the mean divergence, of an accuracy. Several purposes are averaged with weights on that scale.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from calibrant.errors import InputError
from calibrant.race.evidence import Evidence, evidence_of
from calibrant.race.set_variances import Array
from calibrant.settings.race_settings import MEASURE


class NoLossError(InputError):
    """A set was measured, and its loss is no number: the model that it makes may be destroyed."""


Scale = tuple[Callable[[float], float], Callable[[float], float]]  # of a mean, and its derivative
LINEAR: Scale = (lambda mean: mean, lambda mean: 1.0)  # a mean of nats is the logarithm of a perplexity
LOGARITHM: Scale = (math.log, lambda mean: 1 / mean)
GAIN: Scale = (lambda mean: -math.log(mean), lambda mean: -1 / mean)  # more is better
MEASURES = {"perplexity": "loss"}  # what a user names -> as the files name it; others have one name
SCALES = {"loss": LINEAR, "kl": LOGARITHM, "agreement": GAIN}


def scale(measure: str) -> Scale:
    """How the mean of a measure becomes a loss; tasks' accuracies count as gains, their flips as losses."""
    return SCALES.get(measure, LOGARITHM if measure.startswith("flips") else GAIN)


def lower_is_better(measure: str) -> bool:
    """Whether a smaller value is a better model, of a measure as a user or as the files name it."""
    return scale(MEASURES.get(measure, measure))[1](1.0) > 0


@dataclass(frozen=True)
class Purpose:
    """A text or task that judges.

    Attributes:
        evaluation: its name.
        measure: `kl`, `perplexity`, `agreement`, or a task's metric (`ChooseSettings.measure`).
        weight: of it among the purposes.
    """

    evaluation: str
    measure: str = MEASURE
    weight: float = 1.0

    @property
    def name(self) -> str:
        """As the files of measures have the measure."""
        return MEASURES.get(self.measure, self.measure)


@dataclass(frozen=True)
class Losses:
    """Sets and documents, crossed.

    Attributes:
        scores: of each candidate its sets' losses [sets].
        pulls: of each candidate how far each document pulls each set's loss [sets, D]. The squares of the differences
            of two rows add up to the variance of these sets' difference over documents.
        sizes: of each text or task that judges, predicted tokens of each document, or 1 for an item.
    """

    scores: Mapping[str, Array]
    pulls: Mapping[str, Array]
    sizes: Sequence[Array] = field(default_factory=list)

    @property
    def documents(self) -> float:
        """How many documents of equal weight tell as much; of several texts, the one that tells least; 0 of none."""
        return min((float((each**2).sum() ** 2 / (each**4).sum()) for each in self.sizes), default=0.0)

    def evidence(self, candidates: Sequence[str]) -> Evidence:
        """What is known of candidates, in this order."""
        return evidence_of([self.scores[c] for c in candidates], [self.pulls[c] for c in candidates], self.documents)


def read_losses(sets: Mapping[str, Sequence[pa.Table]], purposes: Sequence[Purpose]) -> Losses:
    """The losses of candidates' sets.

    Args:
        sets: of each candidate the tables of measures (`evaluation.measure_table`) of its sets, in their order.
        purposes: what judges.

    Raises:
        InputError: a set lacks a purpose, was judged on other documents than the first, or is given twice.
        NoLossError: a loss is no number.
    """
    scores: dict[str, list[float]] = {name: [0.0] * len(tables) for name, tables in sets.items()}
    pulls: dict[str, list[dict[str, Array]]] = {name: [{} for _ in tables] for name, tables in sets.items()}
    sizes: dict[str, Array] = {}
    documents: dict[str, list[str]] = {}
    seen: dict[tuple[str, str, bytes], str] = {}
    total = sum(purpose.weight for purpose in purposes)
    if not sets or not purposes or not all(purpose.weight > 0 for purpose in purposes):
        raise InputError("a race needs candidates, and what judges them with weights above 0")
    for purpose in purposes:
        of, derivative = scale(purpose.name)
        for name, tables in sets.items():
            for number, table in enumerate(tables):
                where = f"set {number} of {name}, {purpose.evaluation} ({purpose.measure})"
                units, sums, counts = _column(table, purpose, where)
                sizes.setdefault(purpose.evaluation, counts)
                documents.setdefault(purpose.evaluation, units)
                _check_documents(where, units, counts, documents[purpose.evaluation], sizes[purpose.evaluation])
                twice = seen.setdefault((purpose.evaluation, purpose.name, sums.tobytes()), where)
                if twice != where:
                    raise InputError(f"{where}: is the same measurement as {twice}; give each set once")
                if not counts.sum() > 0:
                    raise InputError(f"{where}: counts no token or item")
                mean = float(sums.sum() / counts.sum())
                if purpose.name != "loss" and not mean > 0:
                    raise NoLossError(f"{where}: is {mean:g} on all documents; its logarithm is no loss")
                scores[name][number] += purpose.weight / total * of(mean)
                # A document's own share of the mean makes its deviation smaller than that of a new document.
                share = counts / counts.sum()
                spread = 1 / np.sqrt(np.maximum(1 - share, 1 / len(share) if len(share) > 1 else 1.0))
                factor = purpose.weight / total * derivative(mean) / counts.sum()
                own = factor * spread * (sums - mean * counts)
                # Measures of one text pull by the same documents; different texts' documents are independent.
                of_text = pulls[name][number]
                of_text[purpose.evaluation] = own + of_text.get(purpose.evaluation, 0.0)
    return Losses(
        {name: np.array(each) for name, each in scores.items()},
        {name: np.array([np.concatenate(list(row.values())) for row in each]) for name, each in pulls.items()},
        list(sizes.values()),
    )


def _column(table: pa.Table, purpose: Purpose, where: str) -> tuple[list[str], Array, Array]:
    rows = table.filter(
        pc.and_(pc.equal(table["evaluation"], purpose.evaluation), pc.equal(table["measure"], purpose.name))
    )
    if not rows.num_rows:
        known = sorted(set(zip(table["evaluation"].to_pylist(), table["measure"].to_pylist(), strict=True)))
        said = {name: key for key, name in MEASURES.items()}
        there = ", ".join(f"{evaluation} ({said.get(name, name)})" for evaluation, name in known) or "nothing"
        way = "; evaluate it with --dense" if purpose.name in ("kl", "agreement") else ""
        raise InputError(f"{where}: was not measured; the file has {there}{way}")
    sums = rows["sum"].to_numpy().astype(np.float64)
    if not np.isfinite(sums).all():
        worst = rows["unit"].to_pylist()[int(np.argmin(np.isfinite(sums)))]
        raise NoLossError(f"{where}: document {worst}: the loss is not a finite number; the model may be destroyed")
    units = [
        f"{number} {unit}" for number, unit in zip(rows["number"].to_pylist(), rows["unit"].to_pylist(), strict=True)
    ]
    return units, sums, rows["count"].to_numpy().astype(np.float64)


def _check_documents(where: str, units: list[str], counts: Array, first: list[str], sizes: Array) -> None:
    if units == first and np.array_equal(counts, sizes):
        return
    common = len(set(units) & set(first))
    if not common:
        raise InputError(f"{where}: has no document in common with the first set; judge all sets by one text")
    raise InputError(
        f"{where}: was judged on other documents or tokens than the first set ({common} of {len(first)} documents in "
        "common); judge all sets by one text, cut in one way"
    )
