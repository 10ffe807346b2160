"""Where a model keeps its decoder layers and their linear layers, found from the modules and not from names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from calibrant.errors import InputError
from calibrant.models.checkpoint.key_map import ParameterPlace
from calibrant.models.openlm.fused_parts import fused_splits
from calibrant.models.structure.expert_weights import find_experts
from calibrant.models.structure.stored_names import stored_layer, stored_names
from calibrant.settings.regular_expression import read_regex


@dataclass(frozen=True)
class DecoderLayer:
    """One decoder layer: its place, its name in the model (`model.layers.0`), its module.

    stored: its name in the checkpoint, which may be another (`language_model.model.layers.0`).
    """

    index: int
    name: str
    module: nn.Module
    stored: str = ""


@dataclass(frozen=True)
class Linear:
    """One linear layer inside a decoder layer.

    name: as the checkpoint has it, `model.layers.0.self_attn.q_proj`, with the base model's prefix where the checkpoint
    leaves that out; for one of several stacked experts, as `ExpertWeight` has it,
    `model.layers.0.block_sparse_moe.experts.3.w1`.
    module: the module that holds the parameter.
    transposed: the checkpoint stores [in, out] (GPT-2's Conv1D, gpt-oss's experts) instead of [out, in].
    parts: row ranges that are pruned as linears of their own; empty for the whole.
    place: for an expert, where it lies in the module's stacked parameter.
    """

    name: str
    module: nn.Module
    transposed: bool = False
    place: ParameterPlace | None = None
    parts: tuple[slice, ...] = ()

    @property
    def parameter(self) -> Tensor:
        """The parameter that holds the weight: the weight itself, or all experts' stacked."""
        parameter = getattr(self.module, self.place.parameter.rpartition(".")[2] if self.place else "weight")
        assert isinstance(parameter, Tensor)
        return parameter.detach()

    @property
    def stored(self) -> Tensor:
        """A view of the weight as the checkpoint stores it."""
        return self.place.view(self.parameter) if self.place else self.parameter

    @property
    def weight(self) -> Tensor:
        """A view [rows = outputs, cols = inputs], whatever the checkpoint's order."""
        return self.orient(self.stored)

    def orient(self, tensor: Tensor) -> Tensor:
        """Turn [outputs, inputs] into the checkpoint's order, or back."""
        return tensor.T if self.transposed else tensor


def find_decoder_layers(model: nn.Module, places: Mapping[str, ParameterPlace] | None = None) -> list[DecoderLayer]:
    """The decoder layers, in order: the outermost list of modules that holds most of the linear weights.

    Lists in a tower for images or sound do not count: a model inside the model that has a configuration of its own.

    Args:
        model: a causal language model.
        places: checkpoint key -> place in the model, for the layers' names in the checkpoint.

    Raises:
        InputError: no list of modules holds linear layers.
    """
    best: tuple[int, str, nn.ModuleList] | None = None
    towers = _towers(model)
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or (best and name.startswith(best[1] + ".")):
            continue
        size = 0 if name.startswith(towers) else sum(_numel(m) for m in module.modules() if is_linear(m))
        if size and (best is None or size > best[0]):
            best = (size, name, module)
    if best is None:
        raise InputError(
            f"{type(model).__name__}: found no list of decoder layers with linear layers in it, so it cannot be pruned"
        )
    _, name, modules = best
    layers = [DecoderLayer(index, f"{name}.{index}", module) for index, module in enumerate(modules)]
    return [replace(layer, stored=stored_layer(layer.name, places or {})) for layer in layers]


def _towers(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the models inside a model that neither have its text part's configuration nor hold one that has."""
    if not isinstance(model, PreTrainedModel):
        return ()
    text = type(model.config.get_text_config())
    inner = {f"{name}.": type(m.config) for name, m in model.named_modules() if name and isinstance(m, PreTrainedModel)}
    of_text = [name for name, kind in inner.items() if kind is text]
    holders = {prefix for prefix in inner for name in of_text if name.startswith(prefix)}
    return tuple(name for name in inner if name not in holders)


def is_linear(module: nn.Module) -> bool:
    """nn.Linear, its subclasses (Falcon has one of its own) and GPT-2's Conv1D."""
    return isinstance(module, nn.Linear | Conv1D)


def _numel(module: nn.Module) -> int:
    weight = module.weight
    return weight.numel() if isinstance(weight, Tensor) else 0


def find_linears(
    layer: DecoderLayer, exclude: str | None = None, places: Mapping[str, ParameterPlace] | None = None
) -> dict[str, Linear]:
    """The linear layers of a decoder layer that can be pruned, in the order of the model's definition; then experts.

    Gates that choose or weigh experts are left out, since a row of them is a whole expert's fate: linear layers
    with a single output, and those with one output for each expert in the block that holds the experts.

    Args:
        layer: the decoder layer.
        exclude: regular expression over names; what it finds is left out.
        places: checkpoint key -> place in the model, for the checkpoint's names and for models with stacked experts.

    Raises:
        InputError: `exclude` is not a regular expression, or as `find_experts`.
    """
    try:
        excluded = read_regex(exclude) if exclude else None
    except InputError as error:
        raise InputError(f"option exclude={exclude}: {error}") from None
    experts = {
        expert.name: Linear(expert.name, expert.module, expert.transposed, expert.place)
        for expert in find_experts(layer.name, layer.module, places or {}, layer.stored or layer.name)
    }
    blocks = {(e.place.parameter.rsplit(".", 2)[0] + ".", len(e.parameter)) for e in experts.values() if e.place}
    stored = stored_names(places or {})
    found = {}
    for local, module in layer.module.named_modules():
        if is_linear(module):
            path = f"{layer.name}.{local}"
            name = stored.get(f"{path}.weight", f"{path}.weight").removesuffix(".weight")
            linear = Linear(name, module, isinstance(module, Conv1D))
            outputs = linear.weight.shape[0]
            chooses = any(outputs == count and path.startswith(block) for block, count in blocks)
            if outputs > 1 and not chooses:
                found[linear.name] = linear
    found.update(experts)
    return {name: linear for name, linear in found.items() if not (excluded and excluded.search(name))}


def check_exclude(
    layers: Sequence[DecoderLayer], exclude: str | None, places: Mapping[str, ParameterPlace] | None = None
) -> None:
    """Refuse an `exclude` that leaves out no linear of these layers, perhaps a misspelt name.

    Raises:
        InputError: as said, with names that there are.
    """
    if not exclude or not layers:
        return
    names = [list(find_linears(layer, None, places)) for layer in layers]
    if not any(re.search(exclude, name) for found in names for name in found):
        there = ", ".join(names[0][:3])
        raise InputError(f"option exclude={exclude}: matches no linear layer of this model; they are {there}, ...")


def split_fused(linears: Mapping[str, Linear], model_type: str) -> dict[str, Linear]:
    """The same linears, those that fuse several (OpenLM's q, k, v and w1, w2) with the row range of each part.

    Raises:
        InputError: no linear of this model is known to be fused.
    """
    if model_type != "openlm":
        raise InputError(f"option fused=parts: knows the parts of openlm's linears, and this model is {model_type}")
    return {
        name: replace(linear, parts=tuple(fused_splits(name, linear.weight.shape[0]).values()))
        for name, linear in linears.items()
    }
