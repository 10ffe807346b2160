"""The rows of a generation run: the vocabulary that they may hold, what they start from, and what they end as."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """Which ids a row may hold.

    `special`: ids that end a row (`stop`) or are never drawn (`suppress`). `size`: number of ids that the tokenizer
    can decode; embeddings are often padded beyond it, and those ids are never drawn.
    """

    special: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Prompt:
    """One row to write: `prefix` is given, `total` is the row's length when it ends full.

    `seed` alone decides the random numbers of the row, one per position, whatever else is in the batch.
    """

    sample_id: int
    prefix: tuple[int, ...]
    total: int
    seed: int
    doc_id: str
    prefix_length: int


@dataclass(frozen=True)
class Generated:
    """A finished row: its ids with the prefix, and why it ended.

    `finish_reason`: `length` (full) or `end_of_text` (the model drew a special token, which is not part of the row).
    `first_end`: the first position at which the row's random number would have drawn a special token, or None.
    """

    sample_id: int
    ids: tuple[int, ...]
    finish_reason: str
    first_end: int | None
