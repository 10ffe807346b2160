"""The form that the documents of a text are written in, such as the head of a prompt: cut out before they are compared.

A form says nothing of which document a text is of, and is much of a short one. Of 3,075 instructions in Alpaca's form
every one shares a fifth of its runs of eight words with another one of 6,150; without the form 12 do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from calibrant.scoring.shingles import Hashes, shingles

FORM_DOCUMENTS = 20  # what no more documents have is no form
_BETWEEN = b"\x00"
_NONE: Hashes = np.array([], dtype=np.uint64)


@dataclass(frozen=True)
class Form:
    """What documents have in common.

    Attributes:
        runs: of `n` units, joined.
        n: units in a run.
    """

    runs: frozenset[bytes]
    n: int

    def without(self, units: Sequence[bytes]) -> list[list[bytes]]:
        """The stretches of a document that are of no run of the form."""
        starts = [i for i, run in enumerate(_runs(units, self.n)) if _BETWEEN.join(run) in self.runs]
        if not starts:
            return [list(units)]
        formal = {place for start in starts for place in range(start, start + self.n)}
        stretches = groupby(range(len(units)), key=formal.__contains__)
        return [[units[place] for place in places] for of_form, places in stretches if not of_form]


def form_of(documents: Sequence[Sequence[bytes]], n: int, share: float) -> Form:
    """The runs of `n` units that more than FORM_DOCUMENTS documents have and more than a share of them.

    Args:
        documents: the units of each.
        n: units in a run.
        share: of the documents.
    """
    sets = [shingles(units, n) for units in documents]
    distinct, counts = np.unique(np.concatenate([_NONE, *sets]), return_counts=True)
    sought = set(distinct[counts > max(FORM_DOCUMENTS, share * len(sets))].tolist())
    runs = set()
    for units, hashes in zip(documents, sets, strict=True):
        if sought.isdisjoint(hashes.tolist()):
            continue
        for run in _runs(units, n):
            (hashed,) = shingles(run, n).tolist()
            if hashed in sought:
                runs.add(_BETWEEN.join(run))
                sought.remove(hashed)
    return Form(frozenset(runs), n)


def stretch_shingles(stretches: Sequence[Sequence[bytes]], n: int) -> Hashes:
    """Hashes of the distinct runs of `n` units of any stretch, sorted."""
    parts = [shingles(units, n) for units in stretches]
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate([_NONE, *parts]))


def _runs(units: Sequence[bytes], n: int) -> list[Sequence[bytes]]:
    return [units[start : start + n] for start in range(len(units) - n + 1)]
