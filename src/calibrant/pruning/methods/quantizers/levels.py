"""The levels that weights of few bits can take: a scale and a zero for each group, and rounding to them."""

import torch
from torch import Tensor

from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.target import Width


def levels_of_range(grouped: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Scale and zero of each group, float32 [...], from its smallest and largest weight; `grouped` is [..., group].

    Zero is a level (the range is widened to hold it), and it is a code, so that pruned weights stay zero. Symmetric:
    the range is twice the larger end, with the zero in its middle. As published (IST-DASLab/gptq, `quant.py`), but for
    symmetric groups without a negative weight, to which the published code gives half of the range.
    """
    lowest, highest = grouped.aminmax(dim=-1)
    return levels_between(lowest.clamp_max_(0), highest.clamp_min_(0), bits, symmetric)


def levels_between(lowest: Tensor, highest: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Scale and zero of ranges that hold zero; a range of nothing is taken as -1 to 1."""
    most = 2**bits - 1
    if symmetric:
        highest = torch.maximum(lowest.neg(), highest)
        lowest = highest.neg()
    nothing = (lowest == 0) & (highest == 0)
    scale = torch.where(nothing, 2, highest - lowest) / most
    if symmetric:
        return scale, torch.full_like(scale, (most + 1) / 2)
    return scale, torch.where(nothing, 1, lowest.neg()).div_(scale).round_()


def codes_of(weights: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """The codes nearest to weights, whole float32 numbers of their shape; ties go to the even level."""
    return (weights / scale).round_().add_(zero).clamp_(0, 2**bits - 1)


def in_groups(weight: Tensor, width: Width) -> Tensor:
    """float32 [rows, groups, group] of a weight [rows, cols]; a view where it can be."""
    rows, cols = weight.shape
    return weight.to(torch.float32).reshape(rows, -1, width.group or cols)


def quantized(codes: Tensor, scales: Tensor, zeros: Tensor, bits: int) -> QuantizedWeight:
    """Put together from codes [rows, groups, group], and scales and zeros [rows, groups], all float32."""
    return QuantizedWeight(codes.to(torch.uint8).flatten(1), scales, zeros.to(torch.uint8), bits)
