"""Evaluation items that occur in calibration text: exact, by the runs of words that an item shares with one document.

MinHash estimates the Jaccard similarity of two sets, which stays small where a short item lies word for word in a long
document. Here the share of the smaller of the two sets is counted (overlap coefficient), for each item and document.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from calibrant.artefacts.table_form import Column, TableForm
from calibrant.calibration.documents import Documents
from calibrant.scoring.shingle_index import shingle_index
from calibrant.scoring.shingles import (
    AUTO,
    Corpus,
    Hashes,
    check_shingles,
    common_unit,
    read_corpus,
    shingles,
    splitter,
)

WORDS = 8  # in a shingle: fewer are phrases that anyone writes
CHARACTERS_A_WORD = 2  # of scripts without spaces: a word has one or two in Chinese, more in Thai
# Seven tasks against four real corpora: quotations share 0.21 or more, all else 0.17 or less (docs/reporting.md).
THRESHOLD = 0.2
CONTAMINATION = TableForm(
    "a table of contamination",
    "calibrant contamination",
    (
        Column("source", pa.string()),
        Column("evaluation", pa.string()),  # task or text
        Column("kind", pa.string()),  # task | text
        Column("item", pa.string()),
        Column("unit", pa.string()),  # of a shingle: word | char
        Column("n", pa.int32(), low=1),  # units in a shingle
        Column("shingles", pa.int64(), low=0),  # of the item, distinct; 0: too short to be compared
        Column("doc_id", pa.string(), null=True),  # the document that shares most; null: none shares anything
        Column("shared", pa.int64(), low=0),
        Column("share", pa.float64(), null=True, low=0, high=1),  # of the smaller of the two sets; null: too short
        Column("threshold", pa.float64(), low=0, high=1),  # share from which the item counts as found
    ),
    stages=("contamination",),
)
SCHEMA = CONTAMINATION.schema


@dataclass(frozen=True)
class Items:
    """The items of a task, or the documents of a text.

    Attributes:
        evaluation: name of the task or text.
        kind: `task` or `text`.
        names: of the items.
        texts: of each item the texts that it consists of; shingles do not cross from one into the next.
    """

    evaluation: str
    kind: str
    names: Sequence[str]
    texts: Sequence[Sequence[str]]

    def unit(self, asked: str = AUTO) -> str:
        """The unit in which these items are compared, `word` or `char`: the one asked for, or what their script has."""
        return common_unit(asked, [[text for texts in self.texts for text in texts]])


def in_units(words: int, unit: str) -> int:
    """Units in a shingle of so many words."""
    return words if unit == "word" else CHARACTERS_A_WORD * words


def compare_items(
    documents: Documents,
    items: Sequence[Items],
    asked: str = AUTO,
    words: int = WORDS,
    threshold: float = THRESHOLD,
) -> list[dict[str, Any]]:
    """`contamination` of items whose scripts may differ: each task or text in its own unit, in the items' order.

    Raises:
        InputError: the source has no shingle of the unit that fits its own text.
    """
    units = [each.unit(asked) for each in items]
    found: dict[str, Iterator[dict[str, Any]]] = {}
    for unit in dict.fromkeys(units):
        source = read_corpus(documents, splitter(unit))
        n = in_units(words, unit)
        if unit == common_unit(asked, [documents.texts]):
            check_shingles(source, unit, n)
        ours = [each for each, own in zip(items, units, strict=True) if own == unit]
        found[unit] = iter(contamination(source, ours, n, threshold, unit))
    return [next(found[unit]) for each, unit in zip(items, units, strict=True) for _ in each.names]


def contamination(
    source: Corpus, items: Sequence[Items], n: int = WORDS, threshold: float = THRESHOLD, unit: str = "word"
) -> list[dict[str, Any]]:
    """For each item the document of the source that shares most with it: rows of `SCHEMA`, in the items' order.

    Args:
        source: documents cut into units (`splitter(unit)`).
        items: what the model is evaluated on.
        n: units in a shingle.
        threshold: share from which a reader should take the item for found; recorded.
        unit: `word` or `char`.
    """
    sets = [_item_shingles(texts, n, unit) for each in items for texts in each.texts]
    best = _best_documents(source, sets, n)
    rows = []
    flat = [(each, name) for each in items for name in each.names]
    for (each, name), hashes, (share, shared, document) in zip(flat, sets, best, strict=True):
        rows.append(
            {
                "source": source.source,
                "evaluation": each.evaluation,
                "kind": each.kind,
                "item": name,
                "unit": unit,
                "n": n,
                "shingles": len(hashes),
                "doc_id": None if document is None else source.doc_ids[document],
                "shared": shared,
                "share": share if len(hashes) else None,
                "threshold": threshold,
            }
        )
    return rows


def _item_shingles(texts: Sequence[str], n: int, unit: str) -> Hashes:
    parts = [shingles(units, n) for units in splitter(unit)(list(texts))]
    return np.unique(np.concatenate(parts)) if parts else np.array([], dtype=np.uint64)


def _best_documents(source: Corpus, sets: Sequence[Hashes], n: int) -> list[tuple[float, int, int | None]]:
    """(share, shared shingles, document) of the best document of each set; of equal ones the first."""
    index = shingle_index(sets)
    best: list[tuple[float, int, int | None]] = [(0.0, 0, None)] * len(sets)
    for document, units in enumerate(source.units):
        items, counts, shares = index.overlaps(shingles(units, n))
        for item, count, share in zip(items.tolist(), counts.tolist(), shares.tolist(), strict=True):
            if (share, count) > best[item][:2]:
                best[item] = (share, count, document)
    return best
