"""How alike two corpora are: Jaccard similarity of their sets of shingles, by MinHash.

Section 3.4 of the paper ranks sources by the MinHash-LSH Jaccard similarity of their 3-grams to the model's training
data. Values there lie near 0.01, where the usual 128 permutations have a standard error as large as the value: here
4,096 or more, with the standard error, and beside them the exact value where the sets are small enough to be compared
directly.

The similarity of whole corpora depends on the amount of text taken: what two of them have in common grows with it. C4
and the DCLM pool share 0.009, 0.018, 0.030 and 0.037 of their word 3-grams at 20, 80, 320 and 640 thousand words of
each. So values compare at one amount only, and not with the paper's, whose amount is not stated.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasketch import MinHash

from calibrant.artefacts.table_form import Column, TableForm
from calibrant.errors import InputError
from calibrant.scoring.shingles import NAMES, Corpus, Hashes, check_shingles, corpus_shingles

PERMUTATIONS = 4096
EXACT_LIMIT = 20_000_000  # distinct shingles of both sets together; 160 MB of hashes
SCALE_NOTE = (
    "Similarity depends on how much text of each corpus is taken, so values compare at one amount only. The paper does "
    "not state its amount: its values can be set beside these for their order, not for their size."
)
_BATCH = 1000  # shingles per step: bounds the [batch, permutations] table

SIMILARITY = TableForm(
    "a table of similarities",
    "calibrant similarity",
    (
        Column("reference", pa.string()),
        Column("source", pa.string()),
        Column("unit", pa.string()),
        Column("n", pa.int32(), low=1),
        Column("amount", pa.int64(), low=1),  # units taken from each corpus
        Column("reference_documents", pa.int64(), low=0),
        Column("documents", pa.int64(), low=0),
        Column("reference_shingles", pa.int64(), low=0),  # distinct
        Column("shingles", pa.int64(), low=0),
        Column("jaccard", pa.float64(), low=0, high=1),  # MinHash's estimate
        Column("stderr", pa.float64(), low=0),  # of that estimate, from the number of permutations
        Column("permutations", pa.int32(), low=1),
        Column("exact", pa.float64(), null=True, low=0, high=1),  # null when the sets are too large
    ),
    stages=("similarity",),
)
SCHEMA = SIMILARITY.schema


def signature(hashes: Hashes, permutations: int = PERMUTATIONS, seed: int = 0) -> MinHash:
    """MinHash signature of a set of 64-bit hashes, of which it uses the lower 32 bits.

    Two different shingles share those with probability 2^-32, which raises the Jaccard similarity of sets of a
    million by about 0.0001.
    """
    minhash = MinHash(permutations, seed=seed, hashfunc=int, scheme="affine32")
    low = (hashes & np.uint64(0xFFFFFFFF)).tolist()
    for start in range(0, len(low), _BATCH):
        minhash.update_batch(low[start : start + _BATCH])
    return minhash


def standard_error(jaccard: float, permutations: int) -> float:
    """Standard error of a MinHash estimate: that of a share of `permutations` independent trials.

    The share is moved off 0 and 1 as Agresti and Coull do, since an estimate of 0 is not a certain one.
    """
    share = (jaccard * permutations + 2) / (permutations + 4)
    return math.sqrt(share * (1 - share) / (permutations + 4))


def exact_jaccard(a: Hashes, b: Hashes) -> float:
    """|A and B| / |A or B| of two sorted sets of hashes; 0 when both are empty."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    union = len(a) + len(b) - shared
    return shared / union if union else 0.0


def common_amount(corpora: Sequence[Corpus], asked: int | None = None) -> int:
    """Units to take from each corpus: as many as the smallest has, or as asked.

    Jaccard similarity depends on the sizes of the sets, so that only equal amounts can be compared.

    Raises:
        InputError: a corpus has fewer units than asked, or none.
    """
    smallest = min(corpora, key=lambda corpus: corpus.amount)
    amount = smallest.amount if asked is None else asked
    if amount < 1 or amount > smallest.amount:
        raise InputError(
            f"--amount {amount}: {smallest.source} has {smallest.amount} units; use 1 to {smallest.amount}"
        )
    return amount


def similarity_rows(
    reference: Corpus,
    others: Sequence[Corpus],
    *,
    unit: str,
    n: int = 3,
    amount: int | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row of `SCHEMA` for each of `others`, compared with `reference`.

    Raises:
        InputError: corpora too small, or one without any shingle.
    """
    for corpus in (reference, *others):
        check_shingles(corpus, unit, n)
    taken = common_amount([reference, *others], amount)
    base, base_documents = _some_shingles(reference, unit, n, taken, seed)
    base_signature = signature(base, permutations, seed)
    rows = []
    for other in others:
        hashes, documents = _some_shingles(other, unit, n, taken, seed)
        estimate = base_signature.jaccard(signature(hashes, permutations, seed))
        small = len(base) + len(hashes) <= EXACT_LIMIT
        rows.append(
            {
                "reference": reference.source,
                "source": other.source,
                "unit": unit,
                "n": n,
                "amount": taken,
                "reference_documents": base_documents,
                "documents": documents,
                "reference_shingles": len(base),
                "shingles": len(hashes),
                "jaccard": estimate,
                "stderr": standard_error(estimate, permutations),
                "permutations": permutations,
                "exact": exact_jaccard(base, hashes) if small else None,
            }
        )
    return rows


def _some_shingles(corpus: Corpus, unit: str, n: int, amount: int, seed: int) -> tuple[Hashes, int]:
    hashes, documents = corpus_shingles(corpus, n, amount, seed)
    if not len(hashes):
        raise InputError(
            f"--amount {amount}: of {corpus.source} that is {documents} document{'s' * (documents > 1)} without {n} "
            f"{NAMES[unit]} in a row, so there is nothing to compare; use a larger --amount or a smaller --n"
        )
    return hashes, documents
