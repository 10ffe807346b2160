"""Which of many sets hold a shingle: an inverted index, by which shared shingles are counted exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrant.scoring.shingles import Hashes

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ShingleIndex:
    """The sets of shingles by their shingles.

    Attributes:
        known: [K] the distinct shingles of all sets, sorted.
        starts: [K + 1] where the owners of each begin; those of shingle k end where those of k + 1 begin.
        owners: the sets that hold each shingle, by their numbers.
        sizes: [sets] shingles of each set.
    """

    known: Hashes
    starts: Numbers
    owners: Numbers
    sizes: Numbers

    def overlaps(self, found: Hashes) -> tuple[Numbers, Numbers, npt.NDArray[np.float64]]:
        """The sets that share a shingle with `found`, by number; how many they share; the share of the smaller of both.

        Args:
            found: distinct shingles, sorted.
        """
        places = np.searchsorted(self.known, found)
        inside = places < len(self.known)
        places = places[inside]
        places = places[self.known[places] == found[inside]]
        counts = np.bincount(self._owners_of(places))
        sets = np.flatnonzero(counts)
        counts = counts[sets]
        return sets, counts, counts / np.minimum(self.sizes[sets], len(found))

    def _owners_of(self, places: Numbers) -> Numbers:
        """The sets that hold each of some known shingles, a set once for each that it holds."""
        begin = self.starts[places]
        lengths = self.starts[places + 1] - begin
        passed = np.cumsum(lengths) - lengths
        return self.owners[np.repeat(begin - passed, lengths) + np.arange(int(lengths.sum()))]


def shingle_index(sets: Sequence[Hashes]) -> ShingleIndex:
    """The index of sets of distinct shingles."""
    sizes = np.array([len(hashes) for hashes in sets], dtype=np.int64)
    hashes = np.concatenate(sets) if sets else np.array([], dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    known, first = np.unique(hashes[order], return_index=True)
    owners = np.repeat(np.arange(len(sets)), sizes)[order]
    return ShingleIndex(known, np.append(first, len(hashes)), owners, sizes)
