"""Perplexity of a text over windows of fixed length."""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.calibration.documents import SEPARATOR, file_name, read_documents
from calibrant.calibration.tokens import encode
from calibrant.errors import InputError
from calibrant.evaluation.likelihood.request_tree import Request
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.scoring.perplexity import perplexity_of_loss

CHARACTERS_A_TOKEN = 16  # more than any tokenizer needs for prose
DOCUMENTS_AT_A_TIME = 256  # tokenised together


@dataclass(frozen=True)
class Text:
    """A text as tokens.

    Attributes:
        name: what results call it.
        tokens: of all documents joined by `SEPARATOR`, without special tokens.
        sha256: of the file.
        documents: tokens of each document, where they are to be averaged over; else None.
    """

    name: str
    tokens: list[int]
    sha256: str
    documents: list[list[int]] | None = None


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood of `tokens` predicted tokens, or the mean of that over documents.

    `windows` counts what the standard error is over (documents, then); `stderr` is None for a single one.
    """

    value: float
    stderr: float | None
    tokens: int
    windows: int


def text_name(path: Path) -> str:
    """`texts/grimm/documents.parquet` -> `grimm`; otherwise the file's name up to its first dot."""
    return file_name(path, ("documents", "text", "data"))


def read_text(
    path: Path,
    tokenizer: Any,
    *,
    name: str | None = None,
    tokens: int | None = None,
    least: int = 2,
    **reading: Any,
) -> Text:
    """Read documents (Parquet, JSONL, plain text; also .gz, .zst), join them and tokenise them.

    Args:
        path: the file.
        tokenizer: the model's.
        name: what to call the text; default `text_name`.
        tokens: keep only so many from the start. Fewer are no error: the result's `n` says how many there were.
        least: tokens of which one is predicted: 2, or 1 where a beginning-of-text token stands before them.
        reading: how the file is read (`text_settings.ReadingSettings`).

    Raises:
        InputError: unreadable, or too few tokens.
    """
    documents = read_documents(path, **reading)
    characters = math.inf if tokens is None else tokens * CHARACTERS_A_TOKEN
    while True:
        taken: list[str] = []
        length = 0
        for document in documents.texts:  # tokenise no more than is asked for
            if length >= characters:
                break
            taken.append(document)
            length += len(document)
        ids = encode(tokenizer, [SEPARATOR.join(taken)])[0]
        if tokens is None or len(ids) > tokens or len(taken) == len(documents.texts):
            break
        characters *= 2
    ids = ids[:tokens]
    if len(ids) < least:
        raise InputError(f"--text {path}: has {len(ids)} tokens; perplexity needs at least {least}")
    return Text(name or text_name(path), ids, documents.sha256)


def read_documents_apart(
    path: Path,
    tokenizer: Any,
    *,
    name: str | None = None,
    tokens: int | None = None,
    least: int = 2,
    **reading: Any,
) -> Text:
    """As `read_text`, each document tokenised alone; documents without a token to predict are left out.

    Args:
        path, tokenizer, name, least, reading: as for `read_text`.
        tokens: whole documents from the start until they have so many.

    Raises:
        InputError: unreadable, or no document has tokens enough.
    """
    documents = read_documents(path, **reading)
    kept: list[list[int]] = []
    for start in range(0, len(documents.texts), DOCUMENTS_AT_A_TIME):
        encoded = encode(tokenizer, documents.texts[start : start + DOCUMENTS_AT_A_TIME])
        kept += [ids for ids in encoded if len(ids) >= least]
        if tokens is not None and sum(map(len, kept)) >= tokens:
            ends = list(itertools.accumulate(map(len, kept)))
            kept = kept[: 1 + sum(end < tokens for end in ends)]
            break
    if not kept:
        raise InputError(f"--text {path}: no document has {least} tokens; perplexity needs at least {least}")
    return Text(name or text_name(path), [i for ids in kept for i in ids], documents.sha256, kept)


def windows(tokens: Sequence[int], length: int, first: int | None) -> list[Request]:
    """What is asked of the model about a text: windows of `length` ids without overlap, the last one shorter.

    The first id of a window is context only: `first`, the id of the beginning-of-text token, so that every token of the
    text is predicted, or without such a token (None) the first token of the text in the window.
    """
    head = [] if first is None else [first]
    own = length - len(head)
    rows = [head + list(tokens[start : start + own]) for start in range(0, len(tokens), own)]
    return [Request(row[:-1], row[1:]) for row in rows if len(row) > 1]


def mean_perplexity(
    scorer: Scorer,
    documents: Sequence[Sequence[int]],
    length: int,
    progress: Callable[[int], Any] | None = None,
    *,
    first: int | None = None,
) -> Perplexity:
    """The mean over documents of each one's perplexity, which is over `windows` as in `perplexity`.

    A few documents that the model finds very unlikely weigh more than in the perplexity of the whole text; the authors'
    code of the paper reports this mean.

    Raises:
        InputError: the model's log-likelihoods are not finite, or a document's perplexity is beyond any number.
    """
    asked = [(number, request) for number, ids in enumerate(documents) for request in windows(ids, length, first)]
    scored = scorer.score([[request] for _, request in asked], progress)
    losses, counts = [0.0] * len(documents), [0] * len(documents)
    for (number, request), row in zip(asked, scored, strict=True):
        losses[number] -= row[0][0]
        counts[number] += len(request.targets)
    if not all(map(math.isfinite, losses)):
        raise InputError("the model's log-likelihoods are not finite; try --dtype float32")
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

    The standard error is that of a ratio of sums over windows, S = sum of negative log-likelihoods over N = sum of
    tokens, carried through exp by the delta method: stderr = exp(m) sqrt(sum_w (s_w - m n_w)^2 W / (W - 1)) / N with
    m = S / N.

    Raises:
        InputError: the model's log-likelihoods are not finite, or the perplexity is beyond any number.
    """
    requests = windows(tokens, length, first)
    losses = [-row[0][0] for row in scorer.score([[request] for request in requests], progress)]
    counts = [len(request.targets) for request in requests]
    if not all(map(math.isfinite, losses)):
        raise InputError("the model's log-likelihoods are not finite; try --dtype float32")
    total, predicted = math.fsum(losses), sum(counts)
    mean = total / predicted
    value = _finite_perplexity(mean)
    stderr = None
    number = len(losses)
    if number > 1:
        spread = math.fsum((s - mean * n) ** 2 for s, n in zip(losses, counts, strict=True))
        stderr = value * math.sqrt(spread * number / (number - 1)) / predicted
    return Perplexity(value, stderr, predicted, number)


def _finite_perplexity(loss: float) -> float:
    value = perplexity_of_loss(loss)
    if math.isinf(value):
        raise InputError(f"perplexity is beyond any number (mean loss {loss:.4g}); the model is destroyed")
    return value
