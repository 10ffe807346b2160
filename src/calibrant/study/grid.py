"""Unroll a study's grids into runs, and name every artefact by what distinguishes it."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.errors import InputError
from calibrant.settings import method_targets
from calibrant.study.row_counts import kept
from calibrant.study.target_text import DENSE, check_pair, normal_target, target_file_name

WITHOUT_DATA = ("dense", *method_targets.WITHOUT_DATA)
MOST_SETS = 100_000  # of a grid; the paper's largest has some hundreds
SYN_SOURCE = "syn_source"  # as a grid's sources: the one that the configuration's key of that name gives


@dataclass(frozen=True, order=True)
class SetKey:
    """What distinguishes one calibration set from another within a study."""

    source: str
    origin: str  # real | synthetic | given, which is a set that exists
    samples: int
    seed: int
    prefix_length: int = -1  # synthetic only
    drop: float = -1.0  # synthetic only

    @property
    def pool(self) -> str:
        """Name of the generated samples that the set is drawn from, before filtering."""
        return f"{self.source}-p{self.prefix_length}"

    @property
    def name(self) -> str:
        """`web-real-n16-s0` or `web-p4-d0.2-n16-s0`."""
        middle = self.origin if self.origin != "synthetic" else f"p{self.prefix_length}-d{format_number(self.drop)}"
        return f"{self.source}-{middle}-n{self.samples}-s{self.seed}"


@dataclass(frozen=True)
class Run:
    """One model to evaluate: a method at a target on a calibration set (None where the method reads no text).

    `variant` numbers the options of a race's candidates (`choice.entries`); 0 has the study's own.
    """

    method: str
    target: str
    calibration: SetKey | None
    variant: int = 0

    @property
    def name(self) -> str:
        """`web-real-n16-s0/wanda-0.6`, `none/magnitude-2of4`, `none/dense-0`; unique within a study."""
        variant = f"-o{self.variant}" if self.variant else ""
        return f"{self.calibration.name if self.calibration else 'none'}/{self.method}-{self.target_name}{variant}"

    @property
    def target_name(self) -> str:
        """The target as file names carry it: `0.6`, `2of4` for 2:4, `w4g64`."""
        return target_file_name(self.target)


def runs(config: dict[str, Any]) -> list[Run]:
    """All runs of a study, each once, in the order of the grids.

    Raises:
        InputError: a target that is none, or not one of its method, or a set that cannot be drawn.
    """
    found: dict[Run, None] = {}
    for index, grid in enumerate(config["grids"]):
        targets = [normal_target(value, f"grids.{index}.targets") for value in grid.get("targets", ())]
        keys = list(_sets(config, grid, f"grids.{index}")) if set(grid["methods"]) - set(WITHOUT_DATA) else []
        for method in grid["methods"]:
            if method == "dense":
                found[Run("dense", DENSE, None)] = None
                continue
            if not targets:
                raise InputError(f"grids.{index} lacks the key targets, which method {method} needs")
            for target in targets:
                check_pair(method, target, f"grids.{index}")
            sets: list[SetKey | None] = [None] if method in WITHOUT_DATA else list(keys)
            for target, key in itertools.product(targets, sets):
                found[Run(method, target, key)] = None
    return list(found)


def evaluated(config: dict[str, Any]) -> list[Run]:
    """All models that are evaluated: those of `runs`, and the dense one where others are measured beside it.

    Raises:
        InputError: as `runs`.
    """
    found = runs(config)
    dense = Run("dense", DENSE, None)
    return [dense, *found] if found and config["evaluation"]["beside_dense"] and dense not in found else found


def sets_of(config: dict[str, Any]) -> Iterator[SetKey]:
    """All calibration sets that the grids name, unchecked; one may come several times."""
    for grid in config["grids"]:
        if not grid["methods"] or set(grid["methods"]) - set(WITHOUT_DATA):
            yield from _keys(config, grid)


def calibration_sets(config: dict[str, Any]) -> list[SetKey]:
    """All calibration sets of a study, each once: those of its runs, and those that are drawn and only scored.

    Raises:
        InputError: as `runs`.
    """
    found = dict.fromkeys(run.calibration for run in runs(config) if run.calibration)
    for index, grid in enumerate(config["grids"]):
        if not grid["methods"]:
            found |= dict.fromkeys(_sets(config, grid, f"grids.{index}"))
    return list(found)


def full_rows(config: Mapping[str, Any]) -> int:
    """What a pool of generated text amounts to in rows of full length: its samples, or the tokens at which it ends."""
    samples, tokens = int(config["generation"]["samples"]), int(config["generation"]["tokens"])
    return min(samples, math.ceil(tokens / config["calibration"]["length"])) if tokens else samples


def reads_dense_statistics(method: str, options: Mapping[str, Any]) -> bool:
    """Whether a method reads statistics of the dense model, which all its masks of a calibration set share."""
    return method == "owl" or options.get("sequential") == "dense"


def format_number(value: float) -> str:
    """The shortest text of a number: `0.2`, `0`, `0.25`."""
    return f"{value:.6g}"


def _sets(config: dict[str, Any], grid: dict[str, Any], where: str) -> Iterator[SetKey]:
    for key in _keys(config, grid):
        if key.origin != "real":
            _check_synthetic(config, where, key.samples, key.prefix_length, key.drop)
        yield key


def _keys(config: dict[str, Any], grid: dict[str, Any]) -> Iterator[SetKey]:
    samples = grid.get("samples", [config["calibration"]["samples"]])
    prefixes = grid.get("prefix_lengths", [config["generation"]["prefix_length"]])
    drops = grid.get("drops", [config["filter"]["drop"]])
    count = grid.get("seeds", config["seeds"])
    many = count * len(_sources(config, grid)) * len(grid["origins"]) * len(samples) * len(prefixes) * len(drops)
    if many > MOST_SETS:
        raise InputError(f"grids: one asks for {many:,} calibration sets (seeds {count:,}); at most {MOST_SETS:,}")
    seeds = range(count)
    for source, origin, n, seed in itertools.product(_sources(config, grid), grid["origins"], samples, seeds):
        if origin == "real":
            yield SetKey(source, origin, n, seed)
        else:
            for prefix, drop in itertools.product(prefixes, drops):
                yield SetKey(source, origin, n, seed, prefix, float(drop))


def _sources(config: dict[str, Any], grid: dict[str, Any]) -> list[str]:
    chosen, known = grid.get("sources"), list(config["sources"])
    if chosen == SYN_SOURCE:
        return [config["syn_source"]]
    if isinstance(chosen, int):
        return known[:chosen]
    return known if chosen is None else list(chosen)


def _check_synthetic(config: dict[str, Any], where: str, samples: int, prefix: int, drop: float) -> None:
    """What would otherwise stop a stage hours later: no room behind the prefix, or fewer samples than are drawn."""
    generation, length = config["generation"], config["calibration"]["length"]
    if prefix == 0 and generation["bos"] == "never":
        raise InputError(
            f"{where}: prefix_lengths has 0, the beginning-of-text token alone, and generation.bos is never; give "
            "longer ones, or generation.bos auto"
        )
    given = prefix + (prefix == 0 or generation["bos"] == "always")
    if generation["length_means"] == "total" and given >= length:
        raise InputError(
            f"{where}: prefix_lengths has {prefix}, but a sample of calibration.length {length} includes its prefix; "
            "give shorter ones (axes.prefix_lengths for a preset)"
        )
    left = kept(full_rows(config), drop)
    if generation["end_of_text"] == "suppress" and samples > left:
        raise InputError(
            f"{where}: a set of {samples} is drawn from {left} generated samples (generation.samples "
            f"{full_rows(config)}, of which the share {format_number(drop)} is dropped); generate more"
        )
