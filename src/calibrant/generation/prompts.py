"""Which prefix every generated sample starts from, and which seed it is drawn with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.calibration.documents import Documents
from calibrant.calibration.draws import generator
from calibrant.calibration.tokens import bos_id, encode_documents
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
    bos: bool = False,
    length_means: str = "total",
) -> Prompts:
    """Truncate documents to their first tokens (Section 4, Eq. 2 of the paper).

    Documents are drawn without replacement in an order permuted by `seed`; when they are fewer than the samples,
    a fresh permutation follows. Documents shorter than the prefix are passed over. A prefix of 0 tokens is the
    beginning-of-text token alone, which is then the row's first token; with `bos` that token comes first and counts
    as one of `prefix_length`.

    Raises:
        InputError: no document is long enough, or the row has no room for a new token.
    """
    leading = [bos_id(tokenizer)] if bos or prefix_length == 0 else []
    given = max(prefix_length, 1)
    wanted = given - len(leading)
    total = given + length if length_means == "new" else length
    if total <= given:
        raise InputError(f"--length {length}: must be above the prefix of {given} tokens, which it includes")
    rng = generator(seed)
    chosen: list[tuple[str, list[int]]] = [("", [])] * samples if wanted == 0 else []
    passes = 0 if chosen else 1
    while len(chosen) < samples:
        before = len(chosen)
        order = rng.permutation(len(documents)).tolist()
        for index, ids in encode_documents(tokenizer, tokenizer_hash, documents, order):
            if len(ids) >= wanted:
                chosen.append((documents.ids[index], ids[:wanted]))
                if len(chosen) == samples:
                    break
        if len(chosen) == before:
            raise InputError(
                f"documents {documents.path}: none of {len(documents):,} has the {wanted} tokens that "
                f"--prefix-length {prefix_length} asks for"
            )
        passes += len(chosen) < samples
    rows = [
        Prompt(i, tuple(leading + ids), total, sample_seed(seed, i), name, prefix_length)
        for i, (name, ids) in enumerate(chosen)
    ]
    return Prompts(rows, passes)
