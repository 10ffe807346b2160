"""What was run, but for the seed: one cell with every setting, and the names of methods and targets."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

from calibrant.reporting.results.index import DENSE_TARGET
from calibrant.reporting.results.numbers import listed
from calibrant.reporting.results.published.published_tables import settings as published_settings
from calibrant.reporting.results.readable import short_label
from calibrant.settings.method_targets import baseline
from calibrant.settings.sparsity import Pattern, Unstructured
from calibrant.settings.target import Target, parse_target

Setting = Literal["samples", "prefix_length", "drop"]
SETTINGS: tuple[Setting, ...] = ("samples", "prefix_length", "drop")


class Cell(NamedTuple):
    """A method at a target, calibrated on a source's real or generated text (None: no data), at a setting.

    Real text has no prefix length and no filter rate.
    """

    method: str
    target: str
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

    @property
    def columns(self) -> dict[str, Any]:
        """The cell by the columns of result frames and files."""
        return dict(zip(COLUMNS_OF_CELL, self, strict=True))


# Files call a target by the name that it had when there were no widths.
COLUMNS_OF_CELL = tuple("sparsity" if name == "target" else name for name in Cell._fields)
DENSE = Cell("dense", DENSE_TARGET)


class Text(NamedTuple):
    """A calibration text, of which each seed draws a set: a source's real or generated text at a setting."""

    source: str
    origin: str
    samples: int | None = None
    prefix_length: int | None = None
    drop: float | None = None

    def cell(self, method: str, target: str) -> Cell:
        """The cell of a model that was calibrated on it."""
        return Cell(method, target, *self)


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


@cache
def target_of_run(target: str) -> Target:
    """The target of a run that is not the dense model's."""
    return parse_target(target)


def in_order(targets: Iterable[str]) -> list[str]:
    """Each target once, in the order of `Target.order`: sparsities, widths, both; mildest first."""
    return sorted(set(targets), key=lambda target: target_of_run(target).order)


def sparsity_of(target: str) -> Pattern | None:
    """What a target prunes; None of one that has a width, which stands on no axis of sparsity."""
    found = target_of_run(target)
    return None if found.width else found.pattern


def is_ratio(target: str) -> bool:
    """Whether a target is a share of weights alone, which has its place on the axis of shares."""
    return isinstance(sparsity_of(target), Unstructured)


def prunes(target: str) -> bool:
    """Whether a target has a sparsity, alone or with a width."""
    return target_of_run(target).pattern is not None


def target_label(target: str) -> str:
    """`60 %`, `2:4`, `4 bits, group 64`, `dense`."""
    return "dense" if target == DENSE_TARGET else target_of_run(target).label


def targets_told(targets: Sequence[str]) -> str:
    """Targets within a sentence: `50 % and 2:4 sparsity`; without that word where one has a width."""
    words = listed([target_label(target) for target in targets])
    return f"{words} sparsity" if kind_of(targets) == "sparsity" else words


def kind_of(targets: Iterable[str]) -> str:
    """What readers call these together: `sparsity` where none has a width, else `target`."""
    return "sparsity" if all(sparsity_of(target) for target in targets) else "target"


def done_to(targets: Iterable[str]) -> str:
    """What was done to models at these targets: `pruned`, or `compressed` where one has a width."""
    return "pruned" if kind_of(targets) == "sparsity" else "compressed"


def baseline_cell(target: str) -> Cell:
    """The method that reads no text, beside which a target is shown: magnitude pruning, or rounding to nearest."""
    return Cell(baseline(target_of_run(target)), target)


BASELINE_WORDS = {"magnitude": "magnitude pruning", "rtn": "rounding to nearest"}


def baselines(cells: Iterable[Cell]) -> list[str]:
    """The methods among these cells that read no text, beside which others are shown."""
    return list(dict.fromkeys(c.method for c in cells if c.method in BASELINE_WORDS))


def baseline_words(cells: Iterable[Cell], *before: str) -> str:
    """`magnitude pruning` and `rounding to nearest`, those of these cells, after other words; else the first."""
    return listed([*before, *([BASELINE_WORDS[m] for m in baselines(cells)] or [BASELINE_WORDS["magnitude"]])])


METHOD_LABELS = {
    "dense": "Dense",
    "magnitude": "Magnitude",
    "wanda": "Wanda",
    "ria": "RIA",
    "sparsegpt": "SparseGPT",
    "dsnot": "DSnoT",
    "owl": "OWL",
    "rtn": "RTN",
    "wrtn": "Weighted RTN",
    "gptq": "GPTQ",
    "awq": "AWQ",
}


def method_label(method: str) -> str:
    """The published spelling of a method's name."""
    return METHOD_LABELS.get(method, short_label(method))


def run_label(method: str, target: str) -> str:
    """`Wanda, 60 %`."""
    return f"{method_label(method)}, {target_label(target)}"


ORIGINS = {"real": "real", "synthetic": "self-generated"}
