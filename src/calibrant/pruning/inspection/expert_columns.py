"""What `inspect` says of experts: a line on all of them, and columns of each decoder layer's table."""

from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.pruning.masks.expert_tokens import DONE, ExpertTokens, experts_of

HEADINGS = ("experts reached", "least tokens", "median", "too few")


def expert_cells(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """`HEADINGS` of the experts of these decoder layers together; empty cells where they have none."""
    experts = experts_of(layers)
    if experts is None:
        return [""] * len(HEADINGS)
    reached = len(experts.tokens) - experts.unreached
    return [
        f"{reached} of {len(experts.tokens)}",
        f"{min(experts.tokens):,}",
        f"{experts.median:,.10g}",
        f"{experts.too_few:.1%}",
    ]


def expert_lines(metadata: Mapping[str, Any]) -> list[str]:
    """What is to be known beside the columns; no line where no experts were counted."""
    experts = experts_of(metadata["layers"])
    if experts is None:
        return []
    layers = [layer for layer in metadata["layers"] if layer.get("experts")]
    found = f"  experts: {len(experts.tokens):,} in {len(layers)} layers"
    if experts.unreached:
        done = DONE.get(metadata.get("experts", {}).get("done"))
        found += f"; {experts.unreached:,} reached by no token of the calibration set" + (f", {done}" if done else "")
    return [found, f"  too few tokens: fewer than an expert's input columns ({_columns(experts)})"]


def _columns(experts: ExpertTokens) -> str:
    ends = dict.fromkeys((min(experts.columns), max(experts.columns)))
    return " to ".join(f"{end:,}" for end in ends)
