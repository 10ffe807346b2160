"""Where a model keeps its decoder layers and their linear layers, found from the modules and not from names."""

import re
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from calibrant.errors import InputError


@dataclass(frozen=True)
class DecoderLayer:
    """One decoder layer: its place, its name in the model (`model.layers.0`), its module."""

    index: int
    name: str
    module: nn.Module


@dataclass(frozen=True)
class Linear:
    """One linear layer inside a decoder layer.

    name: as `named_modules` gives it, `model.layers.0.self_attn.q_proj`.
    transposed: the checkpoint stores [in, out] (GPT-2's Conv1D) instead of [out, in].
    """

    name: str
    module: nn.Module
    transposed: bool

    @property
    def stored(self) -> nn.Parameter:
        """The weight as the checkpoint stores it."""
        weight = self.module.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def weight(self) -> Tensor:
        """A view [rows = outputs, cols = inputs], whatever the checkpoint's order."""
        return self.orient(self.stored.detach())

    def orient(self, tensor: Tensor) -> Tensor:
        """Turn [outputs, inputs] into the checkpoint's order, or back."""
        return tensor.T if self.transposed else tensor


def find_decoder_layers(model: nn.Module) -> list[DecoderLayer]:
    """The decoder layers, in order: the outermost list of modules that holds most of the linear weights.

    Raises:
        InputError: no list of modules holds linear layers.
    """
    best: tuple[int, str, nn.ModuleList] | None = None
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or (best and name.startswith(best[1] + ".")):
            continue
        size = sum(_numel(m) for m in module.modules() if is_linear(m))
        if size and (best is None or size > best[0]):
            best = (size, name, module)
    if best is None:
        raise InputError(
            f"{type(model).__name__}: found no list of decoder layers with linear layers in it, so it cannot be pruned"
        )
    _, name, modules = best
    return [DecoderLayer(index, f"{name}.{index}", module) for index, module in enumerate(modules)]


def is_linear(module: nn.Module) -> bool:
    """nn.Linear, its subclasses (Falcon has one of its own) and GPT-2's Conv1D."""
    return isinstance(module, nn.Linear | Conv1D)


def _numel(module: nn.Module) -> int:
    weight = module.weight
    return weight.numel() if isinstance(weight, Tensor) else 0


def find_linears(layer: DecoderLayer, exclude: str | None = None) -> dict[str, Linear]:
    """The linear layers of a decoder layer that can be pruned, in the order of the model's definition.

    Gates that choose or weigh experts are left out: a row of them is a whole expert's fate. They are the
    linear layers with a single output, and those named as routers by having one output for each expert.

    Raises:
        InputError: `exclude` is not a regular expression.
    """
    try:
        excluded = re.compile(exclude) if exclude else None
    except re.error as error:
        raise InputError(f"option exclude={exclude}: not a regular expression ({error})") from None
    found = {}
    for local, module in layer.module.named_modules():
        name = f"{layer.name}.{local}"
        if not is_linear(module) or (excluded and excluded.search(name)):
            continue
        linear = Linear(name, module, isinstance(module, Conv1D))
        if linear.weight.shape[0] > 1:
            found[name] = linear
    return found
