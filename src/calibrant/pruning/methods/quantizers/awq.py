"""AWQ: columns with large inputs are scaled up before they are rounded (Lin et al. 2024; mit-han-lab/llm-awq)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.quantizers import rtn, wrtn
from calibrant.pruning.methods.quantizers.levels import codes_of, in_groups, levels_of_range
from calibrant.pruning.methods.quantizers.quantizer import Quantizer
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.method_options import OPTIONS, MethodSettings, number
from calibrant.settings.target import Width

SMALLEST = 1e-4  # of a magnitude that is taken to a power, as published


def input_scales(
    weights: Mapping[str, Tensor], statistics: Statistics, width: Width, settings: MethodSettings
) -> Tensor:
    """Factors [cols] for the columns of all linears with one input; ones where no exponent does better.

    As published they are the inputs' mean magnitudes to a power between 0 and 1, divided by the root of the largest
    times the smallest, and the power is the one with the smallest error. The published error is that of the block's
    output; here it is the mean square error of the linears' own outputs over all calibration tokens, tr(Δ H Δᵀ), which
    takes the Hessian and no further forward pass, for at most `awq.rows` rows of each linear, evenly spread.
    """
    assert statistics.hessian is not None
    assert statistics.magnitudes is not None
    candidates = int(number(settings, "awq.candidates"))
    rows = int(number(settings, "awq.rows"))
    looked_at = [weight[:: -(-len(weight) // rows)].to(torch.float32) for weight in weights.values()]
    symmetric = bool(settings["symmetric"])
    magnitude = statistics.magnitudes.clamp_min(SMALLEST)
    best, least = torch.ones_like(magnitude), torch.inf
    for step in range(candidates):
        scales = magnitude.pow(step / candidates)
        scales = scales / (scales.max() * scales.min()).sqrt()
        error = 0.0
        for given in looked_at:
            grouped = in_groups(given * scales, width)
            scale, zero = levels_of_range(grouped, width.bits, symmetric)
            codes = codes_of(grouped, scale[..., None], zero[..., None], width.bits)
            rounded = codes.sub_(zero[..., None]).mul_(scale[..., None]).reshape(given.shape)
            lost = rounded.div_(scales).sub_(given)
            error += float(((lost @ statistics.hessian) * lost).sum(dtype=torch.float64))
        if error < least:
            best, least = scales, error
    return best


def quantize(weight: Tensor, statistics: Statistics, width: Width, settings: MethodSettings) -> QuantizedWeight:
    """Codes of a weight [rows, cols] that is scaled already, by its groups' ranges or by ranges that are searched."""
    if not settings["awq.clip"]:
        return rtn.quantize(weight, statistics, width, settings)
    return wrtn.quantize(weight, statistics, width, {**settings, **wrtn.DEFAULTS})


QUANTIZER = Quantizer(
    quantize, needs=frozenset({"norm", "magnitudes", "hessian"}), options=OPTIONS["awq"], input_scales=input_scales
)
