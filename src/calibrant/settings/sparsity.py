"""Which weights compete with which: unstructured in rows or whole linear layers, or N kept of every M."""

import re
from dataclasses import dataclass
from typing import Literal

from calibrant.errors import InputError
from calibrant.settings.number_texts import real_number

Group = Literal["row", "linear"]
# What users write for a group, and mask files record. `layer` means one linear layer there, as in the published codes;
# everywhere else in this package a layer is a decoder layer.
GROUP_OF_OPTION: dict[str, Group] = {"row": "row", "layer": "linear"}
GROUPS = tuple(GROUP_OF_OPTION)


@dataclass(frozen=True)
class Unstructured:
    """Prune a share `ratio` of each group: of every output row, or of the whole linear layer."""

    ratio: float
    group: Group = "row"

    @property
    def sparsity(self) -> float:
        """The share of weights to prune."""
        return self.ratio

    def __str__(self) -> str:
        return f"{self.ratio:g}"


@dataclass(frozen=True)
class NM:
    """Keep `n` of every `m` consecutive weights of a row (the field's N:M; 1:4 is 75 % sparse)."""

    n: int
    m: int

    @property
    def sparsity(self) -> float:
        """The share of weights to prune."""
        return (self.m - self.n) / self.m

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


Pattern = Unstructured | NM


def parse_sparsity(text: str) -> Pattern:
    """Read `0.6` (the share pruned) or `2:4` (two kept of every four).

    Raises:
        InputError: neither; a ratio outside 0 to 1 (0 and 1 excluded); or N not between 1 and M - 1.
    """
    allowed = "give a share to prune between 0 and 1, such as 0.6, or N:M with N of every M kept, such as 2:4"
    text = text.strip()
    if match := re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text):
        n, m = int(match[1]), int(match[2])
        if not 0 < n < m:
            raise InputError(f"sparsity {text}: N must be at least 1 and below M; {allowed}")
        return NM(n, m)
    try:
        ratio = real_number(text)
    except ValueError:
        raise InputError(f"sparsity {text}: neither a number nor N:M; {allowed}") from None
    if ratio == 0:
        raise InputError(f"sparsity {text}: prunes nothing, which is the dense model; {allowed}")
    if not 0 < ratio < 1:
        raise InputError(f"sparsity {text}: outside 0 to 1; {allowed}")
    return Unstructured(ratio)
