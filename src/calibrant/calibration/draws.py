"""Random draws: generators from tuples of seeds, and the counts and seeds that a user may give."""

import numpy as np

from calibrant.errors import InputError


def generator(*seed: int) -> np.random.Generator:
    """An independent generator for a tuple of seeds (numpy's SeedSequence over PCG64)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(seed))))


def check_counts(samples: int, length: int, seed: int) -> None:
    """Refuse counts that mean nothing.

    Raises:
        InputError: fewer than one sample, fewer than two tokens, a negative seed.
    """
    if samples < 1:
        raise InputError(f"--samples {samples}: must be 1 or more")
    if length < 2:
        raise InputError(f"--length {length}: must be 2 or more tokens")
    if seed < 0:
        raise InputError(f"--seed {seed}: must be 0 or more")
