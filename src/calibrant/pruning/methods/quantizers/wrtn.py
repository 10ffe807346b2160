"""Weighted round to nearest: levels by the error weighted with E[x²], as an importance matrix is used (llama.cpp)."""

from torch import Tensor

from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.quantizers.quantizer import Quantizer
from calibrant.pruning.methods.quantizers.weighted_levels import fit_levels
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.method_options import OPTIONS, MethodSettings, number
from calibrant.settings.target import Width


def quantize(weight: Tensor, statistics: Statistics, width: Width, settings: MethodSettings) -> QuantizedWeight:
    """Codes of a weight [rows, cols], with the mean squares of its inputs as weights of the error."""
    assert statistics.squared_norm is not None
    return fit_levels(
        weight,
        statistics.squared_norm,
        width,
        symmetric=bool(settings["symmetric"]),
        candidates=int(number(settings, "wrtn.candidates")),
        narrowest=number(settings, "wrtn.narrowest"),
    )


DEFAULTS = {option.name: option.default for option in OPTIONS["wrtn"]}
QUANTIZER = Quantizer(quantize, needs=frozenset({"norm"}), options=OPTIONS["wrtn"])
