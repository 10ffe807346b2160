"""How many samples a pool of generated text must hold for the sets that a study takes from it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.study.grid import SetKey, sets_of
from calibrant.study.row_counts import block_rows, rows_for

ENOUGH = "enough"
REPACKED_MARGIN = 1.1  # rows that are cut into windows: separators, tokenising anew, filtered rows longer than others
LONGEST_SEARCH = 16  # times the full rows, at most, when rows end early


def repacked(config: Mapping[str, Any]) -> bool:
    """Whether sets are windows of generated rows, which are of other lengths or tokenised anew."""
    generation = config["generation"]
    return bool(generation["end_of_text"] == "stop" or generation["length_means"] == "new" or generation["retokenise"])


def filtered_first(config: Mapping[str, Any]) -> bool:
    """Whether a pool is filtered as a whole, for all its sets; sets that are blocks of its rows filter their own."""
    return bool(config["calibration"]["sets"] == "pool" or repacked(config))


def enough(config: dict[str, Any]) -> dict[str, int]:
    """`samples` and `tokens` of `generation` that do for all sets of a study.

    Its sets of a drop rate lie side by side, and filtering leaves their rows. Blocks are as many as the largest seed
    says, of the size of its set. Sets that are drawn from the pool share rows all the same, 1 / seeds on average, more
    if it were smaller. A study that takes no set has enough for sets of its usual size, should a target take some. Rows
    that end early are written until they hold as many tokens as those samples would.
    """
    found = [key for key in sets_of(config) if key.origin == "synthetic"] or _usual(config)
    if config["calibration"]["sets"] == "pool":
        samples = _enough_to_draw(found, margin(config))
    else:
        samples = max(_rows_to(key, config) for key in found)
    if config["generation"]["end_of_text"] == "stop":
        return {"samples": LONGEST_SEARCH * samples, "tokens": samples * config["calibration"]["length"]}
    return {"samples": samples, "tokens": 0}


def margin(config: Mapping[str, Any]) -> float:
    """What is generated for one that is needed: more where rows are cut into windows."""
    return REPACKED_MARGIN if repacked(config) else 1


def _usual(config: dict[str, Any]) -> list[SetKey]:
    """The sets that a grid would have which says nothing of them."""
    usual = {"methods": [], "origins": ["synthetic"]}
    return list(sets_of({**config, "grids": [usual]}))


def _rows_to(key: SetKey, config: Mapping[str, Any]) -> int:
    """The rows of a generation up to the end of a set's block."""
    blocks = key.seed + 1
    if filtered_first(config):
        return rows_for(math.ceil(margin(config) * blocks * key.samples), key.drop)
    return blocks * block_rows(key.samples, key.drop)


def _enough_to_draw(keys: Sequence[SetKey], margin: float) -> int:
    """The rows of a pool into which the largest set of every seed would fit side by side, after filtering."""
    largest: dict[tuple[str, float], dict[int, int]] = defaultdict(dict)
    for key in keys:
        seeds = largest[key.pool, key.drop]
        seeds[key.seed] = max(seeds.get(key.seed, 0), key.samples)
    return max(rows_for(math.ceil(margin * sum(seeds.values())), drop) for (_, drop), seeds in largest.items())
