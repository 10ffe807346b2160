"""Cut a text into windows in one order, of which each seed's set is a block: sets share no text while there is enough.

The order is decided by the text, the length and the packing alone. The text is read only as far as the block lies.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from calibrant.calibration.documents import SEPARATOR, Documents
from calibrant.calibration.draws import generator
from calibrant.calibration.set_blocks import Block, block
from calibrant.calibration.windows import (
    Window,
    check_stream,
    documents_shown,
    encoded_text,
    read_stream,
    window_offsets,
    window_table,
)
from calibrant.errors import InputError

# Windows of a stream that are permuted among each other: many more than a long document has, so that the windows of one
# are scattered over the sets; and few enough that a huge corpus is not tokenised whole for its first blocks.
STRETCH = 1024
# First words of the seeds of the draws: of the documents' order, of the windows' in a stretch, and within documents.
DOCUMENTS, WINDOWS, OFFSETS = (int.from_bytes(name) for name in (b"docs", b"wind", b"offs"))


def sample_block(
    documents: Documents,
    tokenizer: Any,
    tokenizer_hash: str,
    *,
    samples: int,
    length: int,
    number: int,
    packing: str = "stream",
    separator: str = SEPARATOR,
    joining: str = "text",
    first: int | None = None,
) -> tuple[pa.Table, Block]:
    """Block `number` of `samples` windows of exactly `length` tokens (columns as `sample_set.SCHEMA`), and its places.

    Args:
        documents, tokenizer, tokenizer_hash: the text, and what it is or was tokenised with.
        samples, length, packing, separator, joining: as `SampleSettings`.
        number: of the block, from 0 on; the set's seed.
        first: id of the token at the head of every window, one of its `length`; None for no such token.

    Raises:
        InputError: too little text for one set.
    """
    order = generator(DOCUMENTS).permutation(len(documents)).tolist()
    encoded, between = encoded_text(documents, tokenizer, tokenizer_hash, order, packing, separator, joining)
    where = documents_shown(documents)
    own = length - (first is not None)
    if packing == "stream":
        windows, found = stream_block(encoded, between, samples, own, number, where)
    else:
        windows, found = document_block(encoded, samples, own, number, where)
    return window_table(windows, documents, tokenizer, first), found


def stream_block(
    encoded: Iterable[tuple[int, list[int]]],
    separator: Sequence[int],
    n: int,
    length: int,
    number: int,
    where: str = "documents",
) -> tuple[list[Window], Block]:
    """Block `number` of `n` windows of `length` tokens of documents joined by `separator`.

    The stream is cut into adjacent windows, which are permuted in stretches of STRETCH. `encoded` yields (document
    index, token ids) in the order of the stream and is read to the end of the stretch in which the block ends.

    Raises:
        InputError: the documents hold fewer than n·length tokens.
    """
    wanted = -(-(number + 1) * n // STRETCH) * STRETCH
    stream = read_stream(encoded, separator, wanted * length)
    check_stream(stream, n, length, where)
    found = block(number, n, min(len(stream.ids) // length, wanted))
    order = stretch_order(found.available)
    return [stream.window(int(order[place]) * length, length) for place in found.places], found


def stretch_order(windows: int) -> npt.NDArray[np.int64]:
    """The order of a stream's first `windows` windows: each stretch is permuted by itself, so that more change none."""
    starts = range(0, windows, STRETCH)
    return np.concatenate([at + generator(WINDOWS, at).permutation(min(STRETCH, windows - at)) for at in starts])


def document_block(
    encoded: Iterable[tuple[int, list[int]]], n: int, length: int, number: int, where: str = "documents"
) -> tuple[list[Window], Block]:
    """Block `number` of `n` windows of `length` tokens, each of a single document.

    The first windows of all documents come before their second ones: a document gives as many as it has room for, at
    random offsets without overlap. `encoded` yields (document index, token ids) in the order of the windows and is read
    until there are enough first windows.

    Raises:
        InputError: documents of `length` tokens or more give fewer than `n` windows.
    """
    rng = generator(OFFSETS)
    long: list[tuple[int, array[int], list[int]]] = []
    seen = longest = 0
    for index, tokens in encoded:
        seen, longest = seen + 1, max(longest, len(tokens))
        if len(tokens) >= length:
            offsets = window_offsets(len(tokens), len(tokens) // length, length, rng).tolist()
            long.append((index, array("i", tokens), offsets))
        if len(long) == (number + 1) * n:
            break
    rounds = max((len(offsets) for _, _, offsets in long), default=0) if len(long) < (number + 1) * n else 1
    places = [(i, turn) for turn in range(rounds) for i, (_, _, offsets) in enumerate(long) if turn < len(offsets)]
    if len(places) < n:
        raise InputError(
            f"{where}: too little text: {len(long):,} of {seen:,} documents have {length:,} tokens or more (the "
            f"longest has {longest:,}) and give {len(places):,} windows, but {n:,} are needed; lower --samples or "
            "--length, or use --packing stream"
        )
    found = block(number, n, len(places))
    windows = []
    for place in found.places:
        i, turn = places[place]
        index, ids, offsets = long[i]
        windows.append(Window(ids[offsets[turn] : offsets[turn] + length].tolist(), [index]))
    return windows, found
