"""Draw n windows of L tokens at random from documents: from their concatenation, or from single long documents.

Every seed draws from the whole text; `window_blocks` cuts sets that share nothing. The published pruning codes use both
(Wanda concatenates for WikiText-2 and takes single documents for C4), which confounds the source with the sampler; here
the sampler is a recorded setting, the same for every source.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from calibrant.calibration.document_tokens import encode_documents
from calibrant.calibration.documents import SEPARATOR, Documents
from calibrant.calibration.draws import generator
from calibrant.calibration.following_text import encode_following
from calibrant.calibration.tokens import decode, encode
from calibrant.errors import InputError

# A stream is built until it holds this many times the tokens asked for: enough for windows to fall anywhere in
# small corpora, and a huge corpus is not tokenised whole for 128 windows of a random part of it.
OVERSAMPLE = 4


@dataclass(frozen=True)
class Window:
    """Token ids [L] and the indices of the documents they touch."""

    ids: list[int]
    documents: list[int]


def window_offsets(total: int, n: int, length: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Offsets of `n` windows of `length` that do not overlap, uniform over all such arrangements, in random order.

    The free tokens, total - n·length, are shared out between the gaps uniformly: n values are drawn without
    replacement from free + n, which is the bijection between arrangements and subsets.

    Raises:
        ValueError: they do not fit.
    """
    free = total - n * length
    if free < 0:
        raise ValueError(f"{n} windows of {length} do not fit into {total}")
    starts = np.sort(rng.choice(free + n, size=n, replace=False, shuffle=False)) - np.arange(n)
    offsets: npt.NDArray[np.int64] = starts.astype(np.int64) + np.arange(n, dtype=np.int64) * length
    return rng.permutation(offsets)


@dataclass(frozen=True)
class Stream:
    """Documents joined: their token ids, and where each document lies in them (start, end, index)."""

    ids: "array[int]"
    bounds: list[tuple[int, int, int]]

    def window(self, offset: int, length: int) -> Window:
        """The `length` tokens from `offset` on, and the documents of which it holds a token."""
        first = max(bisect_right(self.bounds, offset, key=lambda bound: bound[0]) - 1, 0)
        last = bisect_right(self.bounds, offset + length - 1, key=lambda bound: bound[0])
        touched = [d for start, end, d in self.bounds[first:last] if end > offset and start < offset + length]
        return Window(self.ids[offset : offset + length].tolist(), touched)


def read_stream(encoded: Iterable[tuple[int, list[int]]], separator: Sequence[int], enough: int) -> Stream:
    """Join documents by `separator` until they hold `enough` tokens or end; empty documents are passed over.

    `encoded` yields (document index, token ids) in the order of the stream.
    """
    stream = Stream(array("i"), [])
    for index, tokens in encoded:
        if not tokens:
            continue
        if stream.ids:
            stream.ids.extend(separator)
        stream.bounds.append((len(stream.ids), len(stream.ids) + len(tokens), index))
        stream.ids.extend(tokens)
        if len(stream.ids) >= enough:
            break
    return stream


def check_stream(stream: Stream, n: int, length: int, where: str) -> None:
    """Refuse a stream that holds fewer than `n` windows of `length` tokens.

    Raises:
        InputError: the message gives both counts of tokens.
    """
    if len(stream.ids) < n * length:
        raise InputError(
            f"{where}: too little text: {len(stream.ids):,} tokens in {len(stream.bounds):,} documents, but {n:,} "
            f"samples of {length:,} tokens need {n * length:,}; lower --samples or --length, or give more documents"
        )


def sample_stream(
    encoded: Iterable[tuple[int, list[int]]],
    separator: Sequence[int],
    n: int,
    length: int,
    rng: np.random.Generator,
    where: str = "documents",
) -> list[Window]:
    """`n` windows of `length` tokens, without overlap, from documents joined by `separator`.

    `encoded` yields (document index, token ids) in the order of the stream and is read until the stream holds
    OVERSAMPLE times the tokens asked for. A window lists the documents of which it holds a token.

    Raises:
        InputError: the documents hold fewer than n·length tokens; the message gives both counts.
    """
    stream = read_stream(encoded, separator, OVERSAMPLE * n * length)
    check_stream(stream, n, length, where)
    return [stream.window(offset, length) for offset in window_offsets(len(stream.ids), n, length, rng).tolist()]


def sample_single(
    encoded: Iterable[tuple[int, list[int]]],
    n: int,
    length: int,
    rng: np.random.Generator,
    where: str = "documents",
) -> list[Window]:
    """One window at a random offset from each of `n` documents of at least `length` tokens, in the order given.

    Raises:
        InputError: fewer than `n` documents are that long; the message gives both counts.
    """
    windows: list[Window] = []
    seen = 0
    longest = 0
    for index, tokens in encoded:
        seen += 1
        longest = max(longest, len(tokens))
        if len(tokens) < length:
            continue
        start = int(rng.integers(0, len(tokens) - length + 1))
        windows.append(Window(tokens[start : start + length], [index]))
        if len(windows) == n:
            return windows
    raise InputError(
        f"{where}: too little text: {len(windows):,} of {seen:,} documents have {length:,} tokens or more (the longest "
        f"has {longest:,}), but {n:,} are needed; lower --samples or --length, or use --packing stream"
    )


def encoded_text(
    documents: Documents,
    tokenizer: Any,
    tokenizer_hash: str,
    order: Sequence[int],
    packing: str,
    separator: str,
    joining: str,
) -> tuple[Iterator[tuple[int, list[int]]], list[int]]:
    """The tokens of documents in `order`, tokenised as they are read, and those of the separator between them.

    Raises:
        InputError: the documents were tokenised with another tokenizer.
    """
    joined = packing == "stream" and joining == "text"
    encoded = encode_documents(tokenizer, tokenizer_hash, documents, order, joined=joined)
    needed = packing == "stream" and separator
    return encoded, (encode_following if joined else encode)(tokenizer, [separator])[0] if needed else []


def sample_documents(
    documents: Documents,
    tokenizer: Any,
    tokenizer_hash: str,
    *,
    samples: int,
    length: int,
    seed: int,
    packing: str = "stream",
    separator: str = SEPARATOR,
    joining: str = "text",
    first: int | None = None,
) -> pa.Table:
    """The calibration set's rows (columns as `sample_set.SCHEMA`): `samples` rows of exactly `length` tokens.

    Documents are put in an order permuted by `seed`; windows are then drawn by the same generator.

    Args:
        documents, tokenizer, tokenizer_hash: the text, and what it is or was tokenised with.
        samples, length, seed, packing, separator, joining: as `SampleSettings`.
        first: id of the token at the head of every window, one of its `length`; None for no such token.

    Raises:
        InputError: too little text.
    """
    rng = generator(seed)
    order = rng.permutation(len(documents)).tolist()
    encoded, between = encoded_text(documents, tokenizer, tokenizer_hash, order, packing, separator, joining)
    where = documents_shown(documents)
    own = length - (first is not None)
    if packing == "stream":
        windows = sample_stream(encoded, between, samples, own, rng, where)
    else:
        windows = sample_single(encoded, samples, own, rng, where)
    return window_table(windows, documents, tokenizer, first)


def window_table(windows: Sequence[Window], documents: Documents, tokenizer: Any, first: int | None) -> pa.Table:
    """Windows as the rows of a calibration set (columns as `sample_set.SCHEMA`), behind the token `first` if any."""
    n = len(windows)
    head = [] if first is None else [first]
    return pa.table(
        {
            "sample_id": pa.array(range(n), pa.int64()),
            "input_ids": pa.array([head + w.ids for w in windows], pa.list_(pa.int32())),
            "text": pa.array([decode(tokenizer, w.ids) for w in windows], pa.string()),
            "source": pa.array([documents.source] * n, pa.string()),
            "origin": pa.array([documents.origin] * n, pa.string()),
            "doc_ids": pa.array([[documents.ids[d] for d in w.documents] for w in windows], pa.list_(pa.string())),
            "prefix_length": pa.array([0] * n, pa.int32()),
            "perplexity": pa.nulls(n, pa.float32()),
        }
    )


def documents_shown(documents: Documents) -> str:
    """How messages call the documents: by their file, where they have one."""
    return f"documents {documents.path}" if documents.path else "documents"
