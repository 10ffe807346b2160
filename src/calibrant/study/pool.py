"""How many samples a pool of generated text must hold for the sets that a study draws from it."""

import math
from collections import defaultdict
from decimal import Decimal
from typing import Any

from calibrant.study.grid import kept, sets_of

ENOUGH = "enough"
REPACKED_MARGIN = 1.1  # rows that are cut into windows: separators, tokenising anew, filtered rows longer than others
LONGEST_SEARCH = 16  # times the full rows, at most, when rows end early


def rows_for(needed: int, drop: float) -> int:
    """The smallest number of rows of which filtering leaves `needed`."""
    rows = math.ceil(Decimal(needed) / (1 - Decimal(str(drop))))
    while rows > 1 and kept(rows - 1, drop) >= needed:
        rows -= 1
    return rows


def repacked(config: dict[str, Any]) -> bool:
    """Whether sets are windows of generated rows, which are of other lengths or tokenised anew."""
    generation = config["generation"]
    return bool(generation["end_of_text"] == "stop" or generation["length_means"] == "new" or generation["retokenise"])


def enough(config: dict[str, Any]) -> dict[str, int]:
    """`samples` and `tokens` of `generation` that do for all sets of a study.

    The sets of all its seeds would fit into a pool side by side: for each drop rate the sum over seeds of the largest
    set, divided by what filtering leaves. Sets are drawn independently, so two of them still share 1 / seeds of their
    rows on average; a smaller pool would make them more alike. Rows that end early are written until they hold as many
    tokens as those samples would.
    """
    largest: dict[tuple[str, float], dict[int, int]] = defaultdict(dict)
    for key in sets_of(config):
        if key.origin == "synthetic":
            seeds = largest[key.pool, key.drop]
            seeds[key.seed] = max(seeds.get(key.seed, 0), key.samples)
    margin = REPACKED_MARGIN if repacked(config) else 1
    rows = [rows_for(math.ceil(margin * sum(seeds.values())), drop) for (_, drop), seeds in largest.items()]
    samples = max(rows, default=1)
    if config["generation"]["end_of_text"] == "stop":
        return {"samples": LONGEST_SEARCH * samples, "tokens": samples * config["calibration"]["length"]}
    return {"samples": samples, "tokens": 0}
