"""Perplexity of a text over windows of fixed length."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.errors import InputError
from calibrant.evaluation.evaluated_text import windows
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.scoring.perplexity import perplexity_of_loss


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood of `tokens` predicted tokens, or the mean of that over documents.

    `windows` counts what the standard error is over (documents, then); `stderr` is None for a single one.
    """

    value: float
    stderr: float | None
    tokens: int
    windows: int


def document_losses(
    scorer: Scorer,
    documents: Sequence[Sequence[int]],
    length: int,
    progress: Callable[[int], Any] | None = None,
    *,
    first: int | None = None,
) -> tuple[list[float], list[int]]:
    """Of each document by itself the sum of its tokens' losses in nats and their number, over its `windows`."""
    asked = [(number, request) for number, ids in enumerate(documents) for request in windows(ids, length, first)]
    scored = scorer.score([[request] for _, request in asked], progress)
    losses, counts = [0.0] * len(documents), [0] * len(documents)
    for (number, request), row in zip(asked, scored, strict=True):
        losses[number] -= row[0][0]
        counts[number] += len(request.targets)
    return losses, counts


def of_documents(losses: Sequence[float], counts: Sequence[int]) -> Perplexity:
    """The mean over documents of each one's perplexity, from the sums of their losses and the numbers of their tokens.

    A few documents that the model finds very unlikely weigh more than in the perplexity of the whole text; the authors'
    code of the paper reports this mean.

    Raises:
        InputError: the losses are not finite, or a document's perplexity is beyond any number.
    """
    _check_finite(losses)
    means = [loss / count for loss, count in zip(losses, counts, strict=True)]
    _finite_perplexity(max(means))
    values = [perplexity_of_loss(mean) for mean in means]
    stderr = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Perplexity(math.fsum(values) / len(values), stderr, sum(counts), len(values))


def perplexity(
    scorer: Scorer,
    tokens: Sequence[int],
    length: int,
    progress: Callable[[int], Any] | None = None,
    *,
    first: int | None = None,
) -> Perplexity:
    """Corpus perplexity over `windows` of `length` ids, of which a full one predicts length - 1 tokens.

    Raises:
        InputError: the model's log-likelihoods are not finite, or the perplexity is beyond any number.
    """
    requests = windows(tokens, length, first)
    losses = [-row[0][0] for row in scorer.score([[request] for request in requests], progress)]
    return of_parts(losses, [len(request.targets) for request in requests])


def of_parts(losses: Sequence[float], counts: Sequence[int]) -> Perplexity:
    """Perplexity over all tokens, from the sums of losses and the numbers of predicted tokens of windows or documents.

    The standard error is that of a ratio of sums over these parts, S = sum of negative log-likelihoods over N = sum of
    tokens, carried through exp by the delta method: stderr = exp(m) sqrt(sum_w (s_w - m n_w)^2 W / (W - 1)) / N with
    m = S / N.

    Raises:
        InputError: as `perplexity`.
    """
    _check_finite(losses)
    total, predicted = math.fsum(losses), sum(counts)
    mean = total / predicted
    value = _finite_perplexity(mean)
    deviation = ratio_deviation(losses, counts, mean)
    return Perplexity(value, None if deviation is None else value * deviation / predicted, predicted, len(losses))


def ratio_deviation(sums: Sequence[float], counts: Sequence[int], mean: float) -> float | None:
    """The standard error of a ratio of sums, times the sum of the counts; None of a single part.

    Args:
        sums, counts: of windows or documents.
        mean: the sum of the sums by that of the counts.
    """
    number = len(sums)
    if number < 2:
        return None
    spread = math.fsum((s - mean * n) ** 2 for s, n in zip(sums, counts, strict=True))
    return math.sqrt(spread * number / (number - 1))


def _check_finite(losses: Sequence[float]) -> None:
    if not all(map(math.isfinite, losses)):
        raise InputError("the model's log-likelihoods are not finite; try --dtype float32")


def _finite_perplexity(loss: float) -> float:
    value = perplexity_of_loss(loss)
    if math.isinf(value):
        raise InputError(f"perplexity is beyond any number (mean loss {loss:.4g}); the model is destroyed")
    return value
