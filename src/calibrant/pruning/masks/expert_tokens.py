"""How many calibration tokens reached each expert, as mask files record it, and which experts got too few."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from calibrant.artefacts.metadata_forms import keys, listed, named, one_of, optional, whole

DONE = {"magnitude": "pruned by magnitude", "keep": "kept dense"}  # what became of experts without tokens
# Of a decoder layer: the module that holds experts -> their tokens in their order, null for those that were left out,
# and the input columns of their widest linear.
OF_LAYER = named(keys({"tokens": listed(optional(whole())), "columns": whole(1)}))
OF_MODEL = keys({"experts": whole(), "unreached": whole(), "done": optional(one_of(DONE))})


@dataclass(frozen=True)
class ExpertTokens:
    """Tokens of some experts, and what they would need.

    tokens: of each expert.
    columns: of each expert, the input columns of its widest linear.
    """

    tokens: tuple[int, ...]
    columns: tuple[int, ...]

    def __add__(self, other: "ExpertTokens") -> "ExpertTokens":
        return ExpertTokens(self.tokens + other.tokens, self.columns + other.columns)

    @property
    def unreached(self) -> int:
        """Experts that no token reached."""
        return self.tokens.count(0)

    @property
    def too_few(self) -> float:
        """The share of experts that fewer tokens reached than their widest linear has input columns.

        So few inputs cannot span what the linear may be given: their Hessian is singular, whatever they are.
        """
        few = sum(tokens < columns for tokens, columns in zip(self.tokens, self.columns, strict=True))
        return few / len(self.tokens)

    @property
    def median(self) -> float:
        """The median over experts."""
        return float(median(self.tokens))


def experts_of(layers: Iterable[Mapping[str, Any]]) -> ExpertTokens | None:
    """The experts of decoder layers, from their entries in a mask file; None where none were counted."""
    found = [
        (tokens, module["columns"])
        for layer in layers
        for module in layer.get("experts", {}).values()
        for tokens in module["tokens"]
        if tokens is not None
    ]
    return ExpertTokens(*map(tuple, zip(*found, strict=True))) if found else None
