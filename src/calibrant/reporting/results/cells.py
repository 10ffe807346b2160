"""What was run, but for the seed: one cell with every setting, one order of compression targets, and their names."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from calibrant.reporting.results.published.published_tables import settings as published_settings
from calibrant.reporting.results.readable import short_label

Setting = Literal["samples", "prefix_length", "drop"]
SETTINGS: tuple[Setting, ...] = ("samples", "prefix_length", "drop")


class Cell(NamedTuple):
    """A method at a sparsity, calibrated on a source's real or generated text (None: no data), at a setting.

    Real text has no prefix length and no filter rate.
    """

    method: str
    sparsity: str
    source: str | None = None
    origin: str | None = None
    samples: int | None = None
    prefix_length: int | None = None
    drop: float | None = None

    @property
    def text(self) -> "Text":
        """The calibration text of a method that uses one."""
        if self.source is None or self.origin is None:
            raise ValueError(f"{self.method} uses no calibration text")
        return Text(self.source, self.origin, self.samples, self.prefix_length, self.drop)


DENSE = Cell("dense", "0")


class Text(NamedTuple):
    """A calibration text, of which each seed draws a set: a source's real or generated text at a setting."""

    source: str
    origin: str
    samples: int | None = None
    prefix_length: int | None = None
    drop: float | None = None

    def cell(self, method: str, sparsity: str) -> Cell:
        """The cell of a model that was calibrated on it."""
        return Cell(method, sparsity, *self)


class MainSetting(NamedTuple):
    """What a study holds fixed where it varies something else."""

    samples: int | None = None
    prefix_length: int | None = None
    drop: float | None = None

    @property
    def words(self) -> str:
        """`128 samples, a prefix of 4 tokens, 20 % dropped`."""
        said = []
        if self.samples is not None:
            said.append(f"{self.samples} samples")
        if self.prefix_length is not None:
            said.append(f"a prefix of {self.prefix_length} tokens")
        if self.drop is not None:
            said.append(f"{100 * self.drop:.4g} % dropped")
        return ", ".join(said)


def main_setting(sets: Mapping[Cell, int]) -> MainSetting:
    """Samples of most runs, then prefix length and filter rate of most generated ones among these.

    Of equally many the one nearest to the paper's (128, 4, 0.2).

    Args:
        sets: the number of runs of each cell.
    """
    paper = published_settings()
    data = {c: n for c, n in sets.items() if c.source is not None}
    samples = _commonest(data, "samples", paper["samples"])
    same = {c: n for c, n in data.items() if c.samples == samples and c.origin == "synthetic"}
    return MainSetting(
        samples, _commonest(same, "prefix_length", paper["prefix_length"]), _commonest(same, "drop", paper["drop"])
    )


def _commonest(sets: Mapping[Cell, int], name: str, wanted: float) -> Any:
    counts: dict[Any, int] = {}
    for cell, n in sets.items():
        value = getattr(cell, name)
        counts[value] = counts.get(value, 0) + n
    known = [value for value in counts if value is not None]
    return min(known, key=lambda v: (-counts[v], abs(v - wanted)), default=None)


def share(sparsity: str) -> float:
    """Share of the weights that are pruned: 0.6 of `0.6`, 0.75 of `1:4` (one kept of four)."""
    if ":" in sparsity:
        kept, group = sparsity.split(":")
        return 1 - int(kept) / int(group)
    return float(sparsity)


def in_order(sparsities: Sequence[str]) -> list[str]:
    """Ratios first, mildest first, then patterns; of equal shares the freer pattern (4:8) before the stricter (2:4)."""

    def key(sparsity: str) -> tuple[bool, float, int, str]:
        return (":" in sparsity, share(sparsity), -int(sparsity.partition(":")[2] or 0), sparsity)

    return sorted(set(sparsities), key=key)


def sparsity_label(sparsity: str) -> str:
    """`60 %`, `2:4`, `dense`."""
    if sparsity == "0":
        return "dense"
    return sparsity if ":" in sparsity else f"{100 * share(sparsity):.4g} %"


METHOD_LABELS = {
    "dense": "Dense",
    "magnitude": "Magnitude",
    "wanda": "Wanda",
    "ria": "RIA",
    "sparsegpt": "SparseGPT",
    "dsnot": "DSnoT",
    "owl": "OWL",
}


def method_label(method: str) -> str:
    """The published spelling of a method's name."""
    return METHOD_LABELS.get(method, short_label(method))


def run_label(method: str, sparsity: str) -> str:
    """`Wanda, 60 %`."""
    return f"{method_label(method)}, {sparsity_label(sparsity)}"


ORIGINS = {"real": "real", "synthetic": "self-generated"}
