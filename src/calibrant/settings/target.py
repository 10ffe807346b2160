"""What a model is compressed to: a sparsity, a width in bits, or both; how it is read, named, ordered and labelled."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from calibrant.errors import InputError, shown
from calibrant.settings.sparsity import NM, Pattern, Unstructured, parse_sparsity

FEWEST_BITS, MOST_BITS = 2, 8
SMALLEST_GROUP, LARGEST_GROUP = 2, 1 << 20
SMALL_GROUP = 16  # smaller ones are named only where no other divides
NAMED = "a sparsity such as 0.6 or 2:4, a width such as w4 or w4g64, or both, such as 0.5+w4g64"


@dataclass(frozen=True)
class Width:
    """Weights of `bits` bits; `group` columns of a row share a scale, a whole row where it is None."""

    bits: int
    group: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no method takes.

        Raises:
            InputError: names the value and what would be right.
        """
        if not FEWEST_BITS <= self.bits <= MOST_BITS:
            raise InputError(f"bits {self.bits}: must be {FEWEST_BITS} to {MOST_BITS}")
        if self.group is not None and not SMALLEST_GROUP <= self.group <= LARGEST_GROUP:
            raise InputError(
                f"group {self.group}: must be {SMALLEST_GROUP} or more columns (and at most {LARGEST_GROUP:,}); leave "
                "it out for one scale a row"
            )

    def __str__(self) -> str:
        return f"w{self.bits}" + ("" if self.group is None else f"g{self.group}")


@dataclass(frozen=True)
class Target:
    """A sparsity, a width, or both; one of them is there."""

    pattern: Pattern | None = None
    width: Width | None = None

    def __str__(self) -> str:
        """`0.6`, `2:4`, `w4g64`, `0.5+w4g64`: as grids, results and metadata carry it; `parse_target` reads it."""
        return "+".join(str(part) for part in (self.pattern, self.width) if part is not None)

    @property
    def file_name(self) -> str:
        """As file names carry it: `2of4` for 2:4; `of_file_name` reads it."""
        return str(self).replace(":", "of")

    @property
    def sparsity(self) -> float:
        """The share of weights to prune; 0 where there is a width alone."""
        return self.pattern.sparsity if self.pattern else 0.0

    @property
    def label(self) -> str:
        """As pages and tables write it: `60 %`, `2:4`, `4 bits, group 64`, `50 % and 4 bits, group 64`."""
        said = []
        if self.pattern is not None:
            said.append(str(self.pattern) if isinstance(self.pattern, NM) else f"{100 * self.pattern.sparsity:.4g} %")
        if self.width is not None:
            said.append(f"{self.width.bits} bits" + (f", group {self.width.group}" if self.width.group else ""))
        return " and ".join(said)

    @property
    def order(self) -> tuple[float | str, ...]:
        """A key to sort by: sparsities, widths, then both; mildest first.

        Ratios stand before N:M, and of equal shares the freer pattern (4:8) before the stricter (2:4); more bits
        before fewer, and of equal bits the smaller group before the larger.
        """
        pattern, width = self.pattern, self.width
        kind = 0 if width is None else 1 if pattern is None else 2
        of_pattern = (isinstance(pattern, NM), self.sparsity, -pattern.m if isinstance(pattern, NM) else 0)
        of_width = (-width.bits, width.group or LARGEST_GROUP + 1) if width else (0, 0)
        return (kind, *of_pattern, *of_width, str(self))

    @property
    def arguments(self) -> list[str]:
        """The flags of the command line that ask for it: `--sparsity 0.5 --bits 4 --group 64`."""
        found = [] if self.pattern is None else ["--sparsity", str(self.pattern)]
        if self.width is not None:
            found += ["--bits", str(self.width.bits)]
            found += [] if self.width.group is None else ["--group", str(self.width.group)]
        return found


def parse_target(text: str) -> Target:
    """Read `0.6`, `2:4`, `w4`, `w4g64` or `0.5+w4g64`; of the spellings of one target `str` gives one.

    Raises:
        InputError: none of these, or values outside what is allowed.
    """
    sparsity, plus, width = text.strip().rpartition("+")
    if not plus and not width.startswith("w"):
        return Target(_normal(parse_sparsity(width)))
    return Target(_normal(parse_sparsity(sparsity)) if plus else None, _parse_width(text, width))


def of_file_name(name: str) -> Target:
    """The inverse of `file_name`."""
    return parse_target(name.replace("of", ":"))


def target_of(sparsity: str | None, bits: int | None, group: int | None) -> Target:
    """The target of the flags `--sparsity`, `--bits` and `--group`.

    Raises:
        InputError: none of them is given, a group without bits, or a value that is not allowed.
    """
    if group is not None and bits is None:
        raise InputError(f"group {group}: says how many columns share a scale, and no --bits are given; give both")
    if sparsity is None and bits is None:
        raise InputError("sparsity: not given; give --sparsity (0.6, 2:4), --bits (4), or both for sparsegpt")
    pattern = None if sparsity is None else _normal(parse_sparsity(sparsity))
    return Target(pattern, None if bits is None else Width(bits, group))


def check_group(group: int, columns: Mapping[str, int]) -> None:
    """Refuse a group that does not divide the columns of some linear.

    Raises:
        InputError: names the first such linear, and the groups that divide all of them.
    """
    for name, cols in columns.items():
        if cols % group:
            common = math.gcd(*columns.values())
            fitting = [each for each in range(2, common + 1) if common % each == 0]
            listed = ", ".join(map(str, [each for each in fitting if each >= SMALL_GROUP] or fitting)) or "none"
            raise InputError(
                f"group {group}: {name}: its {cols} input features cannot be divided into groups of {group}; these "
                f"divide every layer: {listed}"
            )


def _normal(pattern: Pattern) -> Pattern:
    """Ratios to six digits, as names carry them."""
    return Unstructured(float(f"{pattern.ratio:.6g}"), pattern.group) if isinstance(pattern, Unstructured) else pattern


def _parse_width(whole: str, text: str) -> Width:
    match = re.fullmatch(r"w([0-9]{1,9})(?:g([0-9]{1,9}))?", text)
    if match is None:
        raise InputError(f"target {shown(whole, 40)}: must be {NAMED}")
    return Width(int(match[1]), None if match[2] is None else int(match[2]))
