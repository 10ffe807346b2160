"""What must not be calibrated on, since a text that judges holds it: found exactly, by runs of words or the whole text.

Also which documents of one file are nearly the same, so that no two parts of it share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from calibrant.calibration.documents import Documents
from calibrant.calibration.judging_parts import chosen
from calibrant.calibration.windows import documents_shown
from calibrant.errors import InputError
from calibrant.scoring.alike_sets import join_alike
from calibrant.scoring.form_text import Form, form_of, stretch_shingles
from calibrant.scoring.item_contamination import THRESHOLD, WORDS, in_units
from calibrant.scoring.shingle_index import ShingleIndex, shingle_index
from calibrant.scoring.shingles import fitting_unit, folded, shingles, splitter

JUDGING_FORM = 0.1  # a run that more of the judging documents have is of their form
GROUP_WORDS, GROUP_JACCARD = 3, 0.8  # from which documents of one file are nearly the same
GROUP_FORM = 0.5  # fewer copies are a group, so many cannot be: no half would be free of them
REMOVED_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("doc_id", pa.string()),
        ("judging_source", pa.string()),
        ("judging_doc_id", pa.string()),  # the document that shares most with it
        ("share", pa.float64()),  # of the smaller of the two sets of shingles; 1 for the same text
        ("shared", pa.int64()),  # shingles; 0 for the same text where it is too short to have any
    ]
)


class _Overlap(NamedTuple):
    """With a judging document: the share of the smaller of the two, shared shingles, the document's number."""

    share: float
    shared: int
    number: int


@dataclass(frozen=True)
class KeptOut:
    """The documents that may be calibrated on, and a row of `REMOVED_SCHEMA` for each that may not."""

    kept: Documents
    removed: list[dict[str, Any]]


def kept_out(
    pool: Documents,
    judging: Sequence[Documents],
    *,
    words: int = WORDS,
    threshold: float = THRESHOLD,
    needed: int = 1,
) -> KeptOut:
    """Remove the documents of a pool that are in a text that judges, or share text with a document of one.

    A document is removed where its text is that of a judging document but for case and white space, or where the two
    share at least `threshold` of the shingles of the smaller one. Shingles are of the unit that fits the judging
    document's script; the form that judging documents are written in (`form_text`) is cut out of both. Time grows with
    the pool's size, not with its square.

    Args:
        pool: the documents of a candidate.
        judging: the parts that judge.
        words: in a shingle; of scripts without spaces twice as many characters.
        threshold: share from which a document is removed.
        needed: documents that must be left.

    Raises:
        InputError: fewer than `needed` are left.
    """
    others = [(each.source, name, text) for each in judging for name, text in zip(each.ids, each.texts, strict=True)]
    same: dict[str, int] = {}
    for number, (_, _, text) in enumerate(others):
        same.setdefault(_plain(text), number)
    by_unit = _by_unit([text for _, _, text in others], words)
    kept, removed = [], []
    for row, text in enumerate(pool.texts):
        overlaps = [found for each in by_unit if (found := each.most_alike(text))]
        if (twin := same.get(_plain(text))) is not None:
            overlaps.append(_Overlap(1.0, 0, twin))
        best = max(overlaps, key=lambda each: (each.share, each.shared, -each.number), default=None)
        if best is None or best.share < threshold:
            kept.append(row)
            continue
        source, name, _ = others[best.number]
        removed.append(
            {
                "source": pool.source,
                "doc_id": pool.ids[row],
                "judging_source": source,
                "judging_doc_id": name,
                "share": best.share,
                "shared": best.shared,
            }
        )
    if len(kept) < needed:
        raise InputError(
            f"{documents_shown(pool)}: {len(removed):,} of {len(pool):,} documents are in the text that judges "
            f"({', '.join(dict.fromkeys(each.source for each in judging))}) or share {threshold:g} or more of their "
            f"text with it, so {len(kept):,} are left, but {needed:,} are needed; give another text or a larger one"
        )
    return KeptOut(chosen(pool, kept), removed)


def near_duplicate_groups(documents: Documents) -> list[int]:
    """A label for each document, the same for those that are nearly the same: the row of the first of them.

    Two documents are nearly the same where their texts are but for case and white space, or their shingles have a
    Jaccard similarity of at least GROUP_JACCARD; what is nearly the same as one of a group belongs to it. Pairs are
    found by MinHash and compared exactly. Documents of a script without spaces are compared by characters too. The form
    that most documents are written in (`form_text`) is cut out first, but of those that consist of it.
    """
    texts = documents.texts
    firsts: dict[str, int] = {}
    labels = np.array([firsts.setdefault(_plain(text), row) for row, text in enumerate(texts)], dtype=np.int64)
    rows = list(firsts.values())
    unspaced = [row for row in rows if fitting_unit([texts[row]]) == "char"]
    for unit, compared in (("word", rows), ("char", unspaced)):
        n = in_units(GROUP_WORDS, unit)
        units = [_cut(texts[row], unit) for row in compared]
        form = form_of(units, in_units(WORDS, unit), GROUP_FORM)
        sets = dict.fromkeys(range(len(texts)), shingles([], n))
        for row, each in zip(compared, units, strict=True):
            own = stretch_shingles(form.without(each), n)
            sets[row] = own if len(own) else shingles(each, n)
        labels = join_alike(labels, list(sets.values()), GROUP_JACCARD)
    return [int(label) for label in labels]


def _plain(text: str) -> str:
    """The text without case and white space."""
    return "".join(folded(text).split())


def _cut(text: str, unit: str) -> list[bytes]:
    return splitter(unit)([text])[0]


@dataclass(frozen=True)
class _Judging:
    """The judging documents that are compared in one unit.

    Attributes:
        unit, n: of their shingles.
        form: that they are written in.
        index: of their shingles without it, by the documents' places in `numbers`.
        numbers: of the documents among all that judge.
    """

    unit: str
    n: int
    form: Form
    index: ShingleIndex
    numbers: list[int]

    def most_alike(self, text: str) -> _Overlap | None:
        """The document that shares most with a text, of equal ones the first; None where none shares anything."""
        found = stretch_shingles(self.form.without(_cut(text, self.unit)), self.n)
        places, counts, shares = self.index.overlaps(found)
        if not len(places):
            return None
        best = np.lexsort((places, -counts, -shares))[0]
        return _Overlap(float(shares[best]), int(counts[best]), self.numbers[places[best]])


def _by_unit(texts: Sequence[str], words: int) -> list[_Judging]:
    """The documents that judge, those of each unit together."""
    numbers: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        numbers.setdefault(fitting_unit([text]), []).append(number)
    judging = []
    for unit, those in numbers.items():
        n = in_units(words, unit)
        units = [_cut(texts[number], unit) for number in those]
        form = form_of(units, n, JUDGING_FORM)
        index = shingle_index([stretch_shingles(form.without(each), n) for each in units])
        judging.append(_Judging(unit, n, form, index, those))
    return judging
