"""Running statistics of a linear layer's inputs over the calibration set, in float32."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

Kind = Literal["norm", "moments", "magnitudes", "hessian"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS = 512  # of inputs of lower precision, handled at a time
HESSIAN_ROWS = 128  # of a Hessian of such inputs: the smaller, the less of its lower half is computed


@dataclass
class Statistics:
    """What the criteria know of a layer's inputs x [tokens, cols], one sequence per `update`.

    squared_norm [cols]: mean over sequences of the sum over tokens of x² (Wanda's `scaler_row`).
    sums [cols]: mean over sequences of the sum over tokens of x (DSnoT's `sum_metric_row`: not a mean over tokens).
    variance [cols]: token-weighted mean of each sequence's own biased variance (DSnoT's `var`: not the pooled
    variance, since the spread between sequences is left out).
    magnitudes [cols]: mean over tokens of |x| (AWQ's activation magnitudes).
    hessian [cols, cols]: 2 / sequences times the sum of x^T x (SparseGPT's H).
    factors: of the Hessian, by damping and whether its columns are ordered, for the other linears with this input.
    """

    squared_norm: Tensor | None = None
    sums: Tensor | None = None
    variance: Tensor | None = None
    magnitudes: Tensor | None = None
    hessian: Tensor | None = None
    sequences: int = 0
    tokens: int = 0
    factors: dict[tuple[float, bool], tuple[Tensor, Tensor]] = field(default_factory=dict)


def new_statistics(cols: int, kinds: Collection[Kind], device: torch.device) -> Statistics:
    """Empty statistics of the asked kinds."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float32, device=device)

    return Statistics(
        squared_norm=zeros(cols) if "norm" in kinds else None,
        sums=zeros(cols) if "moments" in kinds else None,
        variance=zeros(cols) if "moments" in kinds else None,
        magnitudes=zeros(cols) if "magnitudes" in kinds else None,
        hessian=zeros(cols, cols) if "hessian" in kinds else None,
    )


def update(statistics: Statistics, inputs: Tensor) -> None:
    """Add one sequence's inputs [..., cols] in place."""
    if statistics.hessian is not None:
        _add_to_hessian(statistics.hessian, inputs.reshape(-1, inputs.shape[-1]), statistics.sequences)
    add(statistics, sequence_sums(statistics, inputs))


@dataclass(frozen=True)
class SequenceSums:
    """What one sequence adds to the statistics, but for the Hessian: sums over its `tokens` tokens, each [cols]."""

    tokens: int
    squares: Tensor | None = None
    sums: Tensor | None = None
    variance: Tensor | None = None
    magnitudes: Tensor | None = None


def sequence_sums(statistics: Statistics, inputs: Tensor) -> SequenceSums:
    """What one sequence's inputs [..., cols] are going to add; of `statistics` only its kinds are read."""
    x = inputs.reshape(-1, inputs.shape[-1])
    squares = None if statistics.squared_norm is None else _sum_of_squares(x)
    magnitudes = None if statistics.magnitudes is None else x.abs().sum(0, dtype=torch.float32)
    if statistics.sums is None:
        return SequenceSums(len(x), squares, magnitudes=magnitudes)
    x = x.to(torch.float32)
    return SequenceSums(len(x), squares, x.sum(0), x.var(0, unbiased=False) if len(x) else None, magnitudes)


def add(statistics: Statistics, of_sequence: SequenceSums) -> None:
    """Add the sums of one sequence, in place.

    The running means are updated as in the published codes (scale by n/(n+1), then add 1/(n+1) of the new
    term), so that float32 results agree with theirs to the last bits.
    """
    old, new = statistics.sequences, statistics.sequences + 1
    if statistics.squared_norm is not None and of_sequence.squares is not None:
        statistics.squared_norm.mul_(old / new).add_(of_sequence.squares, alpha=1 / new)
    if statistics.sums is not None and of_sequence.sums is not None:
        statistics.sums.mul_(old / new).add_(of_sequence.sums, alpha=1 / new)
    if statistics.variance is not None and of_sequence.variance is not None:
        total = statistics.tokens + of_sequence.tokens
        statistics.variance.mul_(statistics.tokens / total).add_(of_sequence.variance, alpha=of_sequence.tokens / total)
    if statistics.magnitudes is not None and of_sequence.magnitudes is not None and of_sequence.tokens:
        total = statistics.tokens + of_sequence.tokens
        statistics.magnitudes.mul_(statistics.tokens / total).add_(of_sequence.magnitudes, alpha=1 / total)
    statistics.sequences = new
    statistics.tokens += of_sequence.tokens


def _add_to_hessian(hessian: Tensor, x: Tensor, old: int) -> None:
    new = old + 1
    if x.dtype == torch.float32:
        x = math.sqrt(2 / new) * x  # scaled before the product, as published: near-ties hang on the rounding
        hessian.mul_(old / new).add_(x.T @ x)
    else:
        _add_products(hessian, x.to(torch.float32), old / new, 2 / new)


def _sum_of_squares(x: Tensor) -> Tensor:
    """Sum over tokens of x² [cols] of x [tokens, cols], in float32; other formats are widened some columns at a time.

    A whole float32 copy of wide inputs, and another of its squares, cost more than the sums do.
    """
    if x.dtype == torch.float32:
        return x.square().sum(0)
    parts = torch.split(x, COLUMNS, dim=1)
    return torch.cat([part.to(torch.float32).square_().sum(0) for part in parts])


def _add_products(hessian: Tensor, x: Tensor, kept: float, weight: float) -> None:
    """hessian · kept + weight · xᵀ x, in place: blocks on and above the diagonal, which the others mirror.

    For inputs of lower precision: this rounds differently from the published sequence, and far less than they did.
    """
    for start in range(0, len(hessian), HESSIAN_ROWS):
        rows = slice(start, start + HESSIAN_ROWS)
        hessian[rows, start:].addmm_(x[:, rows].T, x[:, start:], beta=kept, alpha=weight)
        hessian[start + HESSIAN_ROWS :, rows] = hessian[rows, start + HESSIAN_ROWS :].T
