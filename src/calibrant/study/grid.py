"""Unroll a study's grids into runs, and name every artefact by what distinguishes it."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.sparsity import NM, parse_sparsity
from calibrant.study.row_counts import kept

WITHOUT_DATA = ("dense", "magnitude")
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
    """One model to evaluate: a method at a sparsity on a calibration set (None for dense and magnitude).

    `variant` numbers the options of a race's candidates (`choice.entries`); 0 has the study's own.
    """

    method: str
    sparsity: str
    calibration: SetKey | None
    variant: int = 0

    @property
    def name(self) -> str:
        """`web-real-n16-s0/wanda-0.6`, `none/magnitude-2of4`, `none/dense-0`; unique within a study."""
        variant = f"-o{self.variant}" if self.variant else ""
        return f"{self.calibration.name if self.calibration else 'none'}/{self.method}-{self.sparsity_name}{variant}"

    @property
    def sparsity_name(self) -> str:
        """The sparsity as file names carry it: `0.6`, `2of4` for 2:4."""
        return self.sparsity.replace(":", "of")


def runs(config: dict[str, Any]) -> list[Run]:
    """All runs of a study, each once, in the order of the grids.

    Raises:
        InputError: a sparsity that is neither a ratio below 1 nor N:M with N < M, or a set that cannot be drawn.
    """
    found: dict[Run, None] = {}
    for index, grid in enumerate(config["grids"]):
        where = f"grids.{index}.sparsities"
        sparsities = [normal_sparsity(value, where) for value in grid.get("sparsities", ())]
        keys = list(_sets(config, grid, f"grids.{index}")) if set(grid["methods"]) - set(WITHOUT_DATA) else []
        for method in grid["methods"]:
            if method == "dense":
                found[Run("dense", "0", None)] = None
                continue
            if not sparsities:
                raise InputError(f"grids.{index} lacks the key sparsities, which method {method} needs")
            sets: list[SetKey | None] = [None] if method in WITHOUT_DATA else list(keys)
            for sparsity, key in itertools.product(sparsities, sets):
                found[Run(method, sparsity, key)] = None
    return list(found)


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


def normal_sparsity(value: Any, where: str = "sparsity") -> str:
    """`0.60` -> `0.6`; `2:4` as it is. What is a sparsity is `settings.sparsity.parse_sparsity`'s to say.

    Raises:
        InputError: as `parse_sparsity`, with the key.
    """
    try:
        pattern = parse_sparsity(str(value))
    except InputError as error:
        said = str(error).removeprefix("sparsity ")
        raise InputError(f"{where}: {said}{_quotes_hint(value)}") from None
    return str(pattern) if isinstance(pattern, NM) else format_number(pattern.sparsity)


def _quotes_hint(value: object) -> str:
    """YAML reads 2:4 without quotes as two minutes and four seconds."""
    if not isinstance(value, int) or not 0 < value // 60 < value % 60:
        return ""
    pattern = f"{value // 60}:{value % 60}"
    return f'; if {pattern} was meant, write "{pattern}": without the quotes YAML makes {value} of it'


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
