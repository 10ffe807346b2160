"""Groups of sets of shingles that are nearly the same: found by MinHash in bands, then compared exactly."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from calibrant.scoring.corpus_similarity import exact_jaccard, signature
from calibrant.scoring.shingles import Hashes

# Two sets are compared where all rows of one band agree: those of a similarity of 0.8 with probability 0.997, of 0.9
# nearly always, of 0.5 with 0.03.
BANDS, ROWS = 64, 11
MARGIN = 0.1  # six standard errors of a similarity that is estimated from so many rows
_AT_FIRST = 64  # sets that one is compared with; then more at once, without those that are of its group by then

Labels = npt.NDArray[np.int64]


def join_alike(labels: Labels, sets: Sequence[Hashes], threshold: float) -> Labels:
    """Labels of sets, the same for all that a chain of sets joins of which each is like the next.

    Two sets are alike where they have the same label already, or a Jaccard similarity of at least `threshold`. Of the
    labels of a group the least is taken. An empty set is like no other.

    Args:
        labels: [sets] those of before.
        sets: distinct shingles of each, sorted.
        threshold: 0.8 or more; of less, fewer pairs are found.
    """
    labels = labels.copy()
    filled = [place for place, hashes in enumerate(sets) if len(hashes)]
    signatures = {place: signature(sets[place], BANDS * ROWS).hashvalues for place in filled}
    for band in range(BANDS):
        for bucket in _buckets(signatures, slice(band * ROWS, (band + 1) * ROWS)):
            if len(set(labels[bucket].tolist())) > 1:
                _join_bucket(bucket, labels, sets, np.stack([signatures[place] for place in bucket]), threshold)
    return labels


def _buckets(signatures: dict[int, npt.NDArray[np.uint32]], band: slice) -> Iterator[list[int]]:
    """The sets that agree in a band, where there are several."""
    found: dict[bytes, list[int]] = {}
    for place, hashvalues in signatures.items():
        found.setdefault(hashvalues[band].tobytes(), []).append(place)
    return (places for places in found.values() if len(places) > 1)


def _join_bucket(
    bucket: Sequence[int],
    labels: Labels,
    sets: Sequence[Hashes],
    signatures: npt.NDArray[np.uint32],
    threshold: float,
) -> None:
    """Compare the sets of a bucket; change the labels of those that are alike, and of all that have the same ones."""
    places = np.array(bucket)
    for turn, here in enumerate(bucket):
        start = 0
        while start < turn:
            stop = min(2 * start + _AT_FIRST, turn)
            earlier = np.arange(start, stop)
            earlier = earlier[labels[places[start:stop]] != labels[here]]
            estimates = (signatures[earlier] == signatures[turn]).mean(axis=1)
            for other in places[earlier[estimates >= threshold - MARGIN]]:
                if labels[other] != labels[here] and exact_jaccard(sets[other], sets[here]) >= threshold:
                    low, high = sorted((labels[other], labels[here]))
                    labels[labels == high] = low
            start = stop
