"""Levels of the smallest weighted error: each group's range is clipped by several shares, and its scale fitted."""

import torch
from torch import Tensor

from calibrant.pruning.methods.quantizers.levels import codes_of, in_groups, levels_between, quantized
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.target import Width

AT_ONCE = 1 << 16  # weights of a pass: what a core's own memory holds with its intermediate results


def fit_levels(
    weight: Tensor, importance: Tensor, width: Width, *, symmetric: bool, candidates: int, narrowest: float
) -> QuantizedWeight:
    """Codes of a weight [rows, cols], by the range that errs least for each group.

    The error of a group is the sum over its columns of importance * (weight - level)². For each range weights are
    rounded to its levels, and the scale is then the one that errs least with these codes (weighted least squares); so
    llama.cpp's quantization chooses with an importance matrix. Of equal errors the wider range is taken.

    Args:
        weight: [rows, cols].
        importance: of each column [cols], such as the mean square of its input; a group of zeros counts evenly.
        width: bits and columns of a group.
        symmetric: whether the zero is in the middle of the codes.
        candidates: ranges that are tried.
        narrowest: the smallest of them, as a share of the whole range.
    """
    grouped = in_groups(weight, width)
    _, groups, group = grouped.shape
    weights = importance.to(torch.float32).reshape(groups, group)
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, 1.0)
    shares = torch.linspace(1, narrowest, candidates).tolist()
    rows_at_once = max(1, AT_ONCE // (groups * group))
    parts = [_fit(part, weights, width.bits, symmetric, shares) for part in torch.split(grouped, rows_at_once)]
    codes, scales, zeros = (torch.cat(each) for each in zip(*parts, strict=True))
    return quantized(codes, scales, zeros, width.bits)


def _fit(
    grouped: Tensor, weights: Tensor, bits: int, symmetric: bool, shares: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [rows, groups, group], scales and zeros [rows, groups] of some rows."""
    lowest, highest = grouped.aminmax(dim=-1)
    lowest, highest = lowest.clamp_max_(0), highest.clamp_min_(0)
    weighted = grouped * weights
    gain = torch.full_like(lowest, -torch.inf)
    best = [torch.zeros_like(gain), torch.zeros_like(gain), torch.zeros_like(gain)]  # the range's scale, zero, fitted
    for share in shares:
        scale, zero = levels_between(lowest * share, highest * share, bits, symmetric)
        steps = codes_of(grouped, scale[..., None], zero[..., None], bits).sub_(zero[..., None])
        with_weight = (weighted * steps).sum(-1)
        with_itself = steps.square_().mul_(weights).sum(-1)
        # what the best scale for these codes takes off the error of all weights at zero: (Σ h w k)² / Σ h k²
        usable = (with_itself > 0) & (with_weight > 0)
        taken = torch.where(usable, with_weight.square() / with_itself, 0.0)
        better = taken > gain
        fitted = torch.where(usable, with_weight / with_itself, scale)
        gain = torch.where(better, taken, gain)
        best = [torch.where(better, new, old) for new, old in zip((scale, zero, fitted), best, strict=True)]
    scale, zero, fitted = best
    return codes_of(grouped, scale[..., None], zero[..., None], bits), fitted, zero
