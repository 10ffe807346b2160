"""Levels of the smallest weighted error: each group's range is clipped by several shares, and its scale fitted."""

import torch
from torch import Tensor

from calibrant.pruning.methods.quantizers.levels import codes_of, in_groups, levels_between, quantized
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.target import Width

AT_ONCE = 1 << 15  # weights of a pass: what a core's own memory holds with its intermediate results


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
    found = [_fit(part, weights, width.bits, symmetric, shares) for part in torch.split(grouped, rows_at_once)]
    scales, zeros, fitted = (torch.cat(each) for each in zip(*found, strict=True))
    codes = codes_of(grouped, scales[..., None], zeros[..., None], width.bits)
    return quantized(codes, fitted, zeros, width.bits)


def _fit(
    grouped: Tensor, weights: Tensor, bits: int, symmetric: bool, shares: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Scales and zeros of the best ranges of some rows, and the scales that fit their codes, all [rows, groups].

    A group's columns lie along the first dimension here, so that sums over them and factors for them are vectors.
    """
    rows, groups, group = grouped.shape
    x = grouped.permute(2, 0, 1).reshape(group, rows * groups).contiguous()
    importance = weights.T.repeat(1, rows)
    weighted = importance * x
    lowest, highest = x.amin(0).clamp_max_(0), x.amax(0).clamp_min_(0)
    gain = torch.full_like(lowest, -torch.inf)
    best = torch.zeros(3, len(gain), device=x.device)  # scale, zero and fitted scale
    steps, product = torch.empty_like(x), torch.empty_like(x)
    for share in shares:
        scale, zero = levels_between(lowest * share, highest * share, bits, symmetric)
        torch.div(x, scale, out=steps).round_().add_(zero).clamp_(0, 2**bits - 1).sub_(zero)  # as `codes_of`
        with_weight = torch.mul(weighted, steps, out=product).sum(0)
        with_itself = torch.mul(importance, steps, out=product).mul_(steps).sum(0)
        # what the best scale for these codes takes off the error of all weights at zero: (Σ h w k)² / Σ h k²
        usable = (with_itself > 0) & (with_weight > 0)
        taken = torch.where(usable, with_weight.square() / with_itself, 0.0)
        fitted = torch.where(usable, with_weight / with_itself, scale)
        better = taken > gain
        gain = torch.where(better, taken, gain)
        best = torch.where(better, torch.stack([scale, zero, fitted]), best)
    scale, zero, fitted = best.reshape(3, rows, groups)
    return scale, zero, fitted
