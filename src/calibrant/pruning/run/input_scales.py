"""Scale columns of linears up and what makes their inputs down: the layer computes the same and rounds better (AWQ)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calibrant.models.checkpoint.key_map import ParameterPlace
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear
from calibrant.models.structure.layer_calls import LayerCall
from calibrant.models.structure.stored_names import stored_names
from calibrant.pruning.methods.composition import Method
from calibrant.pruning.methods.input_statistics import Statistics

SAME = {torch.float32: 1e-3, torch.float64: 1e-6}  # share of what the layer does; other formats:
SAME_OTHERWISE = 0.05


@dataclass(frozen=True)
class Maker:
    """What makes the input of linears, one factor a feature: the weight of a norm, or rows of a linear.

    name: of the module, as the checkpoint has it.
    weight: a view, one entry of its first dimension for each feature.
    added: what the module adds to its weight before it multiplies by it (1 for Gemma's norms).
    norm: whether it is a norm.
    """

    name: str
    weight: Tensor
    added: float
    norm: bool

    def divide(self, scales: Tensor) -> None:
        """Make the features smaller by these factors [features], in place."""
        factors = scales if self.weight.ndim == 1 else scales[:, None]
        self.weight.copy_((self.weight.to(torch.float32) + self.added) / factors - self.added)


def fold_input_scales(
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    statistics: Mapping[str, Statistics],
    method: Method,
    call: LayerCall,
    hidden: Tensor,
    places: Mapping[str, ParameterPlace],
) -> dict[str, Tensor]:
    """Multiply linears' weights by the method's factors for their inputs, and divide what makes the inputs by them.

    Only where the layer then computes the same, which is tried on one sequence with other factors: where the input is
    made otherwise (by several modules, or read by a router too) the linears stay as they are. The statistics become
    those of the smaller inputs.

    Args:
        layer: the loaded decoder layer.
        linears: its linears; experts' inputs are not scaled.
        statistics: of their inputs; linears with one input share an object.
        method: whose quantizer has `input_scales`.
        call, hidden: of one sequence, [1, tokens, width].
        places: checkpoint key -> place in the model.

    Returns:
        The new weights of the norms that were divided, by the norm's name in the checkpoint.
    """
    quantizer, width = method.quantizer, method.width
    assert quantizer is not None
    assert quantizer.input_scales is not None
    assert width is not None
    groups: dict[int, list[str]] = {}
    for name in linears:
        groups.setdefault(id(statistics[name]), []).append(name)
    norms = _norms(layer, linears, call, hidden, places)
    rescaled: dict[str, Tensor] = {}
    for names in groups.values():
        if any(linears[name].place is not None for name in names):
            continue
        weights = {name: linears[name].weight for name in names}
        makers = [*norms.get(names[0], ()), *_rows(names[0], linears)]
        maker = _tried(layer, list(weights.values()), makers, call, hidden)
        if maker is None:
            continue
        found = statistics[names[0]]
        scales = quantizer.input_scales(weights, found, width, method.settings)
        if bool((scales == 1).all()):
            continue
        maker.divide(scales)
        for weight in weights.values():
            weight.mul_(scales)
        _divide_statistics(found, scales)
        if maker.norm:
            rescaled[maker.name] = maker.weight
    return rescaled


def apply_rescaled(layer: DecoderLayer, rescaled: Mapping[str, Tensor], places: Mapping[str, ParameterPlace]) -> None:
    """Write the weights that `fold_input_scales` returned into the loaded layer."""
    parameters = {f"{layer.name}.{name}": parameter for name, parameter in layer.module.named_parameters()}
    for parameter, key in stored_names(places).items():
        name = key.removesuffix(".weight")
        if name in rescaled and parameter in parameters:
            parameters[parameter].detach().copy_(rescaled[name])


def _divide_statistics(statistics: Statistics, scales: Tensor) -> None:
    """Make statistics of inputs those of the inputs divided by scales, in place."""
    if statistics.squared_norm is not None:
        statistics.squared_norm.div_(scales.square())
    if statistics.magnitudes is not None:
        statistics.magnitudes.div_(scales)
    if statistics.hessian is not None:
        statistics.hessian.div_(scales[:, None]).div_(scales)
    statistics.factors.clear()


def _norms(
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    call: LayerCall,
    hidden: Tensor,
    places: Mapping[str, ParameterPlace],
) -> dict[str, list[Maker]]:
    """The norm whose output each linear is given, as the makers that it may be: with its weight as it is, or plus 1."""
    stored = stored_names(places)
    made: dict[tuple[int, torch.Size], list[Maker]] = {}
    alive: list[Tensor] = []
    found: dict[str, list[Maker]] = {}
    with ExitStack() as stack:
        for path, module in layer.module.named_modules():
            weight = getattr(module, "weight", None)
            key = stored.get(f"{layer.name}.{path}.weight")
            has_bias = getattr(module, "bias", None) is not None
            if not isinstance(weight, nn.Parameter) or weight.ndim != 1 or key is None or has_bias:
                continue
            makers = [Maker(key.removesuffix(".weight"), weight.detach(), added, norm=True) for added in (0.0, 1.0)]
            stack.enter_context(_noting(module, makers, made, alive))
        for name, linear in linears.items():
            if linear.place is None:
                handle = linear.module.register_forward_pre_hook(
                    lambda _, inputs, name=name: found.update({name: made.get(_identity(inputs[0]), [])})
                )
                stack.callback(handle.remove)
        call.run(layer.module, hidden)
    return found


@contextmanager
def _noting(
    module: nn.Module, makers: list[Maker], made: dict[tuple[int, torch.Size], list[Maker]], alive: list[Tensor]
) -> Iterator[None]:
    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.shape[-1] == len(makers[0].weight):
            alive.append(output)  # so that an address stands for one tensor only
            made[_identity(output)] = makers

    handle = module.register_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


def _identity(tensor: Tensor) -> tuple[int, torch.Size]:
    return tensor.data_ptr(), tensor.shape


def _rows(name: str, linears: Mapping[str, Linear]) -> list[Maker]:
    """Rows of the linears beside one that may make its input: an up projection's for down, a value projection's."""
    cols = linears[name].weight.shape[1]
    beside = name.rpartition(".")[0]
    found = []
    for other, linear in reversed(list(linears.items())):
        if other == name or linear.place is not None or other.rpartition(".")[0] != beside:
            continue
        if getattr(linear.module, "bias", None) is not None:
            continue
        rows = len(linear.weight)
        for first in range(rows - cols, -1, -cols) if rows in (cols, 2 * cols) else ():
            found.append(Maker(other, linear.weight[first : first + cols], 0.0, norm=False))
    return found


def _tried(
    layer: DecoderLayer, weights: Sequence[Tensor], makers: Sequence[Maker], call: LayerCall, hidden: Tensor
) -> Maker | None:
    """The first maker that can be divided by what the weights are multiplied by, and the layer computes the same."""
    if not makers:
        return None
    expected = call.run(layer.module, hidden)
    cols = weights[0].shape[1]
    scales = torch.linspace(0.5, 2, cols, device=hidden.device)[torch.arange(cols, device=hidden.device) * 7919 % cols]
    for maker in makers:
        saved = [tensor.clone() for tensor in (maker.weight, *weights)]
        maker.divide(scales)
        for weight in weights:
            weight.mul_(scales)
        found = call.run(layer.module, hidden)
        for tensor, before in zip((maker.weight, *weights), saved, strict=True):
            tensor.copy_(before)
        if (found - expected).norm() <= SAME.get(hidden.dtype, SAME_OTHERWISE) * (expected - hidden).norm():
            return maker
    return None
