"""Random draws: generators from tuples of seeds."""

import numpy as np


def generator(*seed: int) -> np.random.Generator:
    """An independent generator for a tuple of seeds (numpy's SeedSequence over PCG64)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(seed))))
