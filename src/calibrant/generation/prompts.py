"""Which prefix every generated sample starts from, and which seed it is drawn with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.calibration.document_tokens import encode_documents
from calibrant.calibration.documents import Documents
from calibrant.calibration.draws import generator
from calibrant.calibration.first_token import first_token
from calibrant.errors import InputError
from calibrant.generation.generated_rows import Prompt


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run; `passes`: how often the documents were gone through (1: none is used twice)."""

    rows: list[Prompt]
    passes: int


def sample_seed(seed: int, sample_id: int) -> int:
    """The seed of one sample: 63 bits of SeedSequence([seed, sample_id])."""
    return int(np.random.SeedSequence([seed, sample_id]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def make_prompts(
    documents: Documents,
    tokenizer: Any,
    tokenizer_hash: str,
    *,
    samples: int,
    prefix_length: int,
    length: int,
    seed: int,
    bos: str = "auto",
    vocabulary: int | None = None,
    length_means: str = "total",
) -> Prompts:
    """Truncate documents to their first tokens (Section 4, Eq. 2 of the paper).

    Documents are drawn without replacement in an order permuted by `seed`; when they are fewer than the samples,
    a fresh permutation follows. Documents shorter than the prefix are passed over. Where rows begin with a
    beginning-of-text token (`first_token` of `bos` and the model's `vocabulary`), it comes before the prefix and
    counts as a token of the row. A prefix of 0 tokens is that token alone, of any tokenizer that names one.

    Raises:
        InputError: no document is long enough, the row has no room for a new token, or the tokenizer names no token
            that the rows could begin with, or one that the model does not have.
    """
    first = first_token(tokenizer, bos if prefix_length else "named", vocabulary)
    if first is None and prefix_length == 0:
        raise InputError(
            "--prefix-length 0: such a row starts from the beginning-of-text token, and the model's tokenizer names "
            "none; give 1 or more"
        )
    leading = [] if first is None else [int(first)]
    given = len(leading) + prefix_length
    total = given + length if length_means == "new" else length
    if total <= given:
        raise InputError(f"--length {length}: must be above the {given} tokens that are given, which it includes")
    rng = generator(seed)
    chosen: list[tuple[str, list[int]]] = [("", [])] * samples if prefix_length == 0 else []
    passes = 0 if chosen else 1
    while len(chosen) < samples:
        before = len(chosen)
        order = rng.permutation(len(documents)).tolist()
        for index, ids in encode_documents(tokenizer, tokenizer_hash, documents, order):
            if len(ids) >= prefix_length:
                chosen.append((documents.ids[index], ids[:prefix_length]))
                if len(chosen) == samples:
                    break
        if len(chosen) == before:
            raise InputError(
                f"documents {documents.path}: none of {len(documents):,} has the {prefix_length} tokens that "
                f"--prefix-length {prefix_length} asks for"
            )
        passes += len(chosen) < samples
    rows = [
        Prompt(i, tuple(leading + ids), total, sample_seed(seed, i), name, prefix_length)
        for i, (name, ids) in enumerate(chosen)
    ]
    return Prompts(rows, passes)
