"""Round to nearest: each group's range as levels, each weight to the nearest of them. It reads no data."""

from torch import Tensor

from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.quantizers.levels import codes_of, in_groups, levels_of_range, quantized
from calibrant.pruning.methods.quantizers.quantizer import Quantizer
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.method_options import MethodSettings
from calibrant.settings.target import Width


def quantize(weight: Tensor, statistics: Statistics, width: Width, settings: MethodSettings) -> QuantizedWeight:
    """Codes of a weight [rows, cols]; `statistics` may be empty."""
    grouped = in_groups(weight, width)
    scales, zeros = levels_of_range(grouped, width.bits, bool(settings["symmetric"]))
    codes = codes_of(grouped, scales[..., None], zeros[..., None], width.bits)
    return quantized(codes, scales, zeros, width.bits)


QUANTIZER = Quantizer(quantize)
