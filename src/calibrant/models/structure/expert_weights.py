"""Experts inside stacked parameters: one linear layer a slice, under the name that mask files give it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from calibrant.errors import InputError
from calibrant.models.checkpoint.key_map import ParameterPlace, is_stack


@dataclass(frozen=True)
class ExpertWeight:
    """The weight of one expert's linear.

    name: the checkpoint's own, without `.weight`: `...block_sparse_moe.experts.3.w1`; of a tensor that holds all
    experts, its name and the number of the slice, `...block_sparse_moe.input_linear.3`.
    module: the module that holds the stacked parameter.
    place: where it lies in that parameter.
    transposed: a slice is [in, out].
    """

    name: str
    module: nn.Module
    place: ParameterPlace
    transposed: bool


def find_experts(
    layer: str, module: nn.Module, places: Mapping[str, ParameterPlace], stored: str
) -> list[ExpertWeight]:
    """The experts of a decoder layer, in the order of the checkpoint's keys.

    Args:
        layer: the decoder layer's name, `model.layers.0`.
        module: the decoder layer.
        places: checkpoint key -> place in the model.
        stored: the decoder layer's name in the checkpoint.

    Raises:
        InputError: a parameter of three dimensions is not stored as the model has it, or nothing tells whether its
            slices are [out, in] or [in, out].
    """
    stacks = dict(_stacks(layer, module))
    found: list[ExpertWeight] = []
    for key, place in places.items():
        if place.parameter not in stacks:
            continue
        owner, parameter = stacks[place.parameter]
        name = _in_layer(key.removesuffix(".weight"), stored)
        if place.expert is not None:
            found.append(ExpertWeight(name, owner, place, transposed=False))
        elif is_stack(place, parameter):
            transposed = _transposed(owner, place.parameter)
            found += [
                ExpertWeight(f"{name}.{expert}", owner, replace(place, expert=expert), transposed)
                for expert in range(len(parameter))
            ]
    if unknown := sorted(stacks.keys() - {expert.place.parameter for expert in found}):
        raise InputError(
            f"{unknown[0]}: transformers rearranges these experts when it loads them, so they cannot be pruned; "
            "checkpoints that store them as the model has them, or one by one, can"
        )
    return found


def _stacks(layer: str, module: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, Tensor]]]:
    """The parameters of three dimensions by name, each with its module; convolutions have such ones too."""
    for local, parameter in module.named_parameters():
        owner = module.get_submodule(local.rpartition(".")[0])
        if parameter.ndim == 3 and not isinstance(owner, _ConvNd):
            yield f"{layer}.{local}", (owner, parameter)


def _transposed(owner: nn.Module, name: str) -> bool:
    """Whether the slices are [in, out]: the module says so, or its first and last projection show it.

    What enters the first is as wide as what leaves the last.
    """
    said = getattr(owner, "is_transposed", None)
    if isinstance(said, bool):
        return said
    shapes = [parameter.shape for parameter in owner.parameters(recurse=False) if parameter.ndim == 3]
    if len(shapes) == 2:
        (_, rows, cols), (_, last_rows, last_cols) = shapes
        if (rows == last_cols) != (cols == last_rows):
            return rows == last_cols
    raise InputError(f"{name}: nothing says whether its experts are [out, in] or [in, out], so they cannot be pruned")


def _in_layer(name: str, layer: str) -> str:
    """A checkpoint's name below the decoder layer's name, where the checkpoint calls what is above it otherwise."""
    _, number = layer.rsplit(".", 1)
    of_list = layer.rsplit(".", 2)[-2]
    _, found, tail = f".{name}".partition(f".{of_list}.{number}.")
    return f"{layer}.{tail}" if found else name
