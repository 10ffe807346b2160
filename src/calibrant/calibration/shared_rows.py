"""How alike sets are: the share of their rows that is in another set too."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

from calibrant.calibration.sample_set import read_samples


def shared_share(sets: Sequence[Path]) -> float:
    """The share of a set's rows that is in another set, by their token ids: the mean over all pairs, both ways.

    The spread between results of sets of which this share is common is sqrt(1 - share) of that of independent sets.
    0.0 for fewer than two sets.

    Args:
        sets: files of calibration sets.

    Raises:
        InputError: a file cannot be read or is no calibration set.
    """
    rows = [[tuple(ids) for ids in read_samples(path).sequences] for path in sets]
    known = [set(each) for each in rows]
    pairs = list(permutations(range(len(rows)), 2))
    shares = [sum(row in known[other] for row in rows[one]) / len(rows[one]) for one, other in pairs]
    return sum(shares) / len(shares) if shares else 0.0
