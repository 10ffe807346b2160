"""Documents that two corpora share, nearly or in part: found by MinHash-LSH, then compared exactly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasketch import MinHashLSH

from calibrant.scoring.corpus_similarity import exact_jaccard, signature
from calibrant.scoring.shingles import Corpus, Hashes, shingles

PERMUTATIONS = 256  # candidates only: each is compared exactly afterwards
_RECALL = (0.1, 0.9)  # a missed pair is worse than a candidate too many

PAIRS_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("doc_id", pa.string()),
        ("other_source", pa.string()),
        ("other_doc_id", pa.string()),
        ("jaccard", pa.float64()),
    ]
)
CONTAINED_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("doc_id", pa.string()),
        ("shingles", pa.int64()),
        ("contained", pa.float64()),  # share of them that occur anywhere in the reference
    ]
)


def near_duplicates(corpora: Sequence[Corpus], n: int = 3, threshold: float = 0.8) -> list[dict[str, Any]]:
    """Pairs of documents of different corpora whose shingles have a Jaccard similarity of at least `threshold`.

    Rows of `PAIRS_SCHEMA`, in the order of the corpora and their documents. LSH can miss a pair close to
    the threshold; the similarities given are exact.
    """
    sets = [[shingles(units, n) for units in corpus.units] for corpus in corpora]
    lsh = MinHashLSH(threshold, PERMUTATIONS, weights=_RECALL)
    rows: list[tuple[tuple[int, int], tuple[int, int], float]] = []
    for c, corpus in enumerate(sets):
        signatures = {d: signature(hashes, PERMUTATIONS) for d, hashes in enumerate(corpus) if len(hashes)}
        for d, minhash in signatures.items():
            for earlier in lsh.query(minhash):
                jaccard = exact_jaccard(sets[earlier[0]][earlier[1]], corpus[d])
                if jaccard >= threshold:
                    rows.append((earlier, (c, d), jaccard))
        for d, minhash in signatures.items():  # only now, so that a corpus is not compared with itself
            lsh.insert((c, d), minhash)
    return [
        {
            "source": corpora[a[0]].source,
            "doc_id": corpora[a[0]].doc_ids[a[1]],
            "other_source": corpora[b[0]].source,
            "other_doc_id": corpora[b[0]].doc_ids[b[1]],
            "jaccard": jaccard,
        }
        for a, b, jaccard in sorted(rows)
    ]


def contained(reference: Corpus, others: Sequence[Corpus], n: int = 3) -> list[dict[str, Any]]:
    """How much of each document of `others` occurs anywhere in the reference: rows of `CONTAINED_SCHEMA`.

    For items much shorter than the reference's documents (evaluation items against calibration text), where
    Jaccard similarity is small even when an item is there word for word. Documents of fewer than `n` units
    are left out.
    """
    parts = [shingles(units, n) for units in reference.units]
    known: Hashes = np.unique(np.concatenate(parts)) if parts else np.array([], dtype=np.uint64)
    rows = []
    for corpus in others:
        for name, units in zip(corpus.doc_ids, corpus.units, strict=True):
            hashes = shingles(units, n)
            if len(hashes):
                share = float(np.isin(hashes, known, assume_unique=True).mean())
                rows.append({"source": corpus.source, "doc_id": name, "shingles": len(hashes), "contained": share})
    return rows
