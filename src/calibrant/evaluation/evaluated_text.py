"""Texts that a model is evaluated on: read, tokenised, and cut into windows of fixed length."""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.calibration.documents import SEPARATOR, file_name, read_documents
from calibrant.calibration.tokens import encode, encode_with_offsets
from calibrant.errors import InputError
from calibrant.evaluation.likelihood.request_tree import Request

CHARACTERS_A_TOKEN = 16  # more than any tokenizer needs for prose
DOCUMENTS_AT_A_TIME = 16  # tokenised together: often no more than the first few are asked for


@dataclass(frozen=True)
class Text:
    """A text as tokens.

    Attributes:
        name: what results call it.
        tokens: of all documents joined by `SEPARATOR`, without special tokens; of documents apart one after the other.
        sha256: of the file.
        documents: tokens of each document, where each is read by itself; else None.
        names: of the documents that tokens are of.
        owners: the number of each token's document, where documents are joined and it was asked for; else None. A
            separator is of the document before it.
    """

    name: str
    tokens: list[int]
    sha256: str
    documents: list[list[int]] | None = None
    names: tuple[str, ...] = ()
    owners: list[int] | None = None


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
    owned: bool = False,
    **reading: Any,
) -> Text:
    """Read documents (Parquet, JSONL, plain text; also .gz, .zst), join them and tokenise them.

    Args:
        path: the file.
        tokenizer: the model's.
        name: what to call the text; default `text_name`.
        tokens: keep only so many from the start. Fewer are no error: the result's `n` says how many there were.
        least: tokens of which one is predicted: 2, or 1 where a beginning-of-text token stands before them.
        owned: whether to tell which document each token is of.
        reading: how the file is read (`text_settings.ReadingSettings`).

    Raises:
        InputError: unreadable, or too few tokens; or the tokenizer does not tell which document a token is of.
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
        if owned:
            ids, begins = encode_with_offsets(tokenizer, SEPARATOR.join(taken))
        else:
            ids, begins = encode(tokenizer, [SEPARATOR.join(taken)])[0], []
        if tokens is None or len(ids) > tokens or len(taken) == len(documents.texts):
            break
        characters *= 2
    ids = ids[:tokens]
    if len(ids) < least:
        raise InputError(f"--text {path}: has {len(ids)} tokens; perplexity needs at least {least}")
    starts = list(itertools.accumulate((len(document) + len(SEPARATOR) for document in taken), initial=0))
    owners = [bisect.bisect_right(starts, begin) - 1 for begin in begins[:tokens]] if owned else None
    return Text(
        name or text_name(path),
        ids,
        documents.sha256,
        names=tuple(documents.ids[: 1 + max(owners)] if owners else ()),
        owners=owners,
    )


def read_documents_apart(
    path: Path,
    tokenizer: Any,
    *,
    name: str | None = None,
    tokens: int | None = None,
    document_tokens: int | None = None,
    least: int = 2,
    **reading: Any,
) -> Text:
    """As `read_text`, each document tokenised alone; documents without a token to predict are left out.

    Args:
        path, tokenizer, name, least, reading: as for `read_text`.
        tokens: whole documents from the start until they have so many.
        document_tokens: only so many of each document, from its start.

    Raises:
        InputError: unreadable, or no document has tokens enough.
    """
    documents = read_documents(path, **reading)
    kept: list[list[int]] = []
    names: list[str] = []
    for start in range(0, len(documents.texts), DOCUMENTS_AT_A_TIME):
        part = slice(start, start + DOCUMENTS_AT_A_TIME)
        encoded = [ids[:document_tokens] for ids in encode(tokenizer, documents.texts[part])]
        names += [each for each, ids in zip(documents.ids[part], encoded, strict=True) if len(ids) >= least]
        kept += [ids for ids in encoded if len(ids) >= least]
        if tokens is not None and sum(map(len, kept)) >= tokens:
            ends = list(itertools.accumulate(map(len, kept)))
            kept = kept[: 1 + sum(end < tokens for end in ends)]
            break
    if not kept:
        raise InputError(f"--text {path}: no document has {least} tokens; perplexity needs at least {least}")
    flat = [i for ids in kept for i in ids]
    return Text(name or text_name(path), flat, documents.sha256, kept, tuple(names[: len(kept)]))


def windows(tokens: Sequence[int], length: int, first: int | None) -> list[Request]:
    """What is asked of the model about a text: windows of `length` ids without overlap, the last one shorter.

    The first id of a window is context only: `first`, the id of the beginning-of-text token, so that every token of the
    text is predicted, or without such a token (None) the first token of the text in the window.
    """
    head = [] if first is None else [first]
    own = length - len(head)
    rows = [head + list(tokens[start : start + own]) for start in range(0, len(tokens), own)]
    return [Request(row[:-1], row[1:]) for row in rows if len(row) > 1]


@dataclass(frozen=True)
class Windows:
    """What is asked of a model about a text, and whose tokens the answers are.

    Attributes:
        requests: as `windows`.
        owners: of each request the document of every predicted token, by its number.
        names: of the documents.
    """

    requests: list[Request]
    owners: list[list[int]]
    names: tuple[str, ...]

    @property
    def counts(self) -> list[int]:
        """Predicted tokens of each request."""
        return [len(request.targets) for request in self.requests]

    def by_document(self, values: Sequence[float]) -> list[float]:
        """Sums over each document of the values of all predicted tokens, in the order of the requests."""
        found: list[list[float]] = [[] for _ in self.names]
        for owner, value in zip(itertools.chain.from_iterable(self.owners), values, strict=True):
            found[owner].append(value)
        return [math.fsum(each) for each in found]


def owned_windows(text: Text, length: int, first: int | None) -> Windows:
    """`windows` of a text, of each of its documents where they are apart, with the document of every predicted token.

    Raises:
        ValueError: the text was read without `owned`.
    """
    if text.documents is not None:
        cut = [(number, windows(ids, length, first)) for number, ids in enumerate(text.documents)]
        requests = [request for _, each in cut for request in each]
        owners = [[number] * len(request.targets) for number, each in cut for request in each]
        return Windows(requests, owners, text.names)
    if text.owners is None:
        raise ValueError(f"text {text.name}: was read without the documents of its tokens")
    requests = windows(text.tokens, length, first)
    # The same cuts of the owners: where a window begins with context of its own, all its tokens are predicted.
    owners = [list(each.targets) for each in windows(text.owners, length, first)]
    return Windows(requests, owners, text.names)
