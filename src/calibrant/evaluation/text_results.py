"""Results of texts: rows of perplexity, and beside the dense model of divergence and agreement."""

import math
from typing import Any

import torch
from tqdm import tqdm

from calibrant.evaluation.evaluated_text import Text, owned_windows
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.measure_table import AGREEMENT, DIVERGENCE, UnitMeasures
from calibrant.evaluation.text_measures import DenseText, TokenMeasures, dense_text, measure_tokens, text_measures
from calibrant.evaluation.text_perplexity import (
    Perplexity,
    document_losses,
    of_documents,
    of_parts,
    perplexity,
    ratio_deviation,
)

TEXT_VERSION = "1.0"

ResultRow = dict[str, Any]


def text_row(scorer: Scorer, text: Text, length: int, first: int | None = None, average: str = "corpus") -> ResultRow:
    """The perplexity of a text as a result row, averaged as `EvaluateSettings.text_average` says."""
    parts = [text.tokens] if text.documents is None else text.documents
    own = length - (first is not None)
    with tqdm(desc=text.name, total=sum(-(-len(p) // own) for p in parts), unit="window", disable=None) as bar:
        if text.documents is None:
            return _perplexity_row(text.name, perplexity(scorer, text.tokens, length, bar.update, first=first))
        losses, counts = document_losses(scorer, text.documents, length, bar.update, first=first)
        return _perplexity_row(text.name, (of_parts if average == "apart" else of_documents)(losses, counts))


class MeasuredText:
    """A text that is measured by document, under any number of variants of one model.

    Attributes:
        windows: what is asked, with the documents of the predicted tokens.
        dense: the dense model's side, once it is known.
    """

    def __init__(self, text: Text, length: int, first: int | None, average: str, batch_tokens: int) -> None:
        self.name = text.name
        self.windows = owned_windows(text, length, first)
        self.average = average
        self.batch_tokens = batch_tokens
        self.dense: DenseText | None = None

    def see_dense(self, scorer: Scorer) -> tuple[list[ResultRow], list[UnitMeasures]]:
        """Measure the dense model, and remember its side."""
        with self._bar() as bar:
            found = dense_text(scorer.forward, self.windows, self.batch_tokens, bar.update)
        self.dense = found
        return self._results(TokenMeasures(found.own), None)

    def measure(self, scorer: Scorer) -> tuple[list[ResultRow], list[UnitMeasures]]:
        """Measure a model; beside the dense one where its side is known."""
        with self._bar() as bar:
            found = measure_tokens(scorer.forward, self.windows, self.batch_tokens, self.dense, bar.update)
        return self._results(found, self.dense)

    def _bar(self) -> Any:
        return tqdm(desc=self.name, total=len(self.windows.requests), unit="window", disable=None)

    def _results(self, found: TokenMeasures, dense: DenseText | None) -> tuple[list[ResultRow], list[UnitMeasures]]:
        measures = text_measures(self.name, self.windows, found, dense)
        loss = measures[0]
        if self.average == "corpus":  # its standard error is over windows
            parts = torch.split(found.own.loss.double(), self.windows.counts)
            value = of_parts([float(part.sum()) for part in parts], self.windows.counts)
        else:
            value = (of_parts if self.average == "apart" else of_documents)(loss.sums, loss.counts)
        rows = [_perplexity_row(self.name, value)]
        rows += [_mean_row(each) for each in measures if each.measure in (DIVERGENCE, AGREEMENT)]
        return rows, measures


def _perplexity_row(name: str, found: Perplexity) -> ResultRow:
    return _row(name, "perplexity", found.value, found.stderr, found.tokens)


def _mean_row(found: UnitMeasures) -> ResultRow:
    """A mean over tokens; its standard error is that of a ratio of sums over documents (delta method)."""
    counts = [count for count in found.counts if count]
    sums = [value for value, count in zip(found.sums, found.counts, strict=True) if count]
    total = sum(counts)
    mean = math.fsum(sums) / total
    deviation = ratio_deviation(sums, counts, mean)
    return _row(found.evaluation, found.measure, mean, None if deviation is None else deviation / total, total)


def _row(name: str, metric: str, value: float, stderr: float | None, n: int) -> ResultRow:
    """A result row of a text; `n` is the number of predicted tokens."""
    return {
        "task": name,
        "metric": metric,
        "value": value,
        "stderr": stderr,
        "n": n,
        "num_fewshot": 0,
        "task_version": TEXT_VERSION,
        "split": "test",
    }
