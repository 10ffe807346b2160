"""What tests share besides fixtures."""

from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]

WORDS = (
    "the a of and to in river mountain old house wind carried small boats over grey water while children watched "
    "from stones that summer had warmed each evening someone lit lamps along quiet streets where bread was baked "
    "before dawn people spoke about weather trade law music distant cities they would never see but loved anyway"
).split()


def make_text(words: int, seed: int) -> str:
    """Plain deterministic prose-like text: sentences of six to fourteen words."""
    rng = np.random.default_rng(seed)
    sentences = []
    while words > 0:
        count = int(rng.integers(6, 15))
        sentences.append(" ".join(rng.choice(WORDS, count)).capitalize() + ".")
        words -= count
    return " ".join(sentences)
