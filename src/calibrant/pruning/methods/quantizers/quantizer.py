"""What a quantizer is: from a weight, and what is known of its inputs, to codes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from calibrant.pruning.methods.input_statistics import Kind, Statistics
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.method_options import MethodSettings, Option
from calibrant.settings.target import Width

Quantize = Callable[[Tensor, Statistics, Width, MethodSettings], QuantizedWeight]
InputScales = Callable[[Mapping[str, Tensor], Statistics, Width, MethodSettings], Tensor]


@dataclass(frozen=True)
class Quantizer:
    """A way to quantize.

    quantize: (weight [rows, cols], statistics of its inputs, width, settings) -> codes, scales and zeros.
    needs: the statistics that it reads; empty when it needs no calibration data.
    input_scales: ({linear: weight [rows, cols]} of all linears with one input, statistics of the input, width,
    settings) -> factors [cols] by which the weights are multiplied before they are quantized, and by which what makes
    the input is divided.
    """

    quantize: Quantize
    needs: frozenset[Kind] = frozenset()
    options: tuple[Option, ...] = ()
    input_scales: InputScales | None = None
