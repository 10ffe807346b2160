"""Run one decoder layer over the calibration set and collect the statistics of its linear layers' inputs."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from calibrant.errors import InputError
from calibrant.models.structure import DecoderLayer, Linear
from calibrant.pruning.calls import LayerCall
from calibrant.pruning.statistics import Kind, Statistics, new_statistics, update

Seen = Callable[[str, Tensor], None]  # (linear's name, its input)


class _SeenEnoughError(Exception):
    """The last input of interest was seen; the rest of the layer need not run."""


def propagate(layer: DecoderLayer, calls: Sequence[LayerCall], hidden: Tensor, device: torch.device) -> None:
    """Replace `hidden` [sequences, tokens, width] by the layer's outputs, one sequence at a time."""
    with torch.no_grad():
        for index, call in enumerate(calls):
            inputs = hidden[index : index + 1].to(device)
            hidden[index : index + 1] = call.run(layer.module, inputs).to(hidden.device)


def collect(
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    calls: Sequence[LayerCall],
    hidden: Tensor,
    kinds: Collection[Kind],
    device: torch.device,
    *,
    move_on: bool,
) -> dict[str, Statistics]:
    """Statistics of each linear's inputs; linears that are given the same tensor share one object.

    The first sequence shows which linears share an input (query, key and value do) and which comes last;
    the others then run with one hook for each distinct input, and no further than the last of them.

    Args:
        layer: the decoder layer, loaded on `device`.
        linears: the linear layers to watch, by name.
        calls: how the model calls the layer, for each sequence.
        hidden: the layer's inputs [sequences, tokens, width]; replaced by its outputs if `move_on`.
        kinds: the statistics to collect.
        device: where the layer is.
        move_on: whether the outputs are wanted too, in the same pass.

    Raises:
        InputError: a linear layer was never called, or an expert got no token.
    """
    leaders = _leaders(layer, linears, calls[0], hidden[:1].to(device))
    statistics = {name: new_statistics(linears[name].weight.shape[1], kinds, device) for name in leaders.values()}
    last = next(reversed(statistics))
    routed = any(linear.place for linear in linears.values())  # then which call is the last differs by sequence

    def seen(name: str, inputs: Tensor) -> None:
        update(statistics[name], inputs)
        if name == last and not move_on and not routed:
            raise _SeenEnoughError

    with _watched({name: linears[name] for name in statistics}, seen), torch.no_grad():
        for index, call in enumerate(calls):
            try:
                output = call.run(layer.module, hidden[index : index + 1].to(device))
            except _SeenEnoughError:
                continue
            if move_on:
                hidden[index : index + 1] = output.to(hidden.device)
    for name, found in statistics.items():
        if not found.tokens:
            raise InputError(
                f"{name}: no token of the calibration set reaches this expert, so it has no statistics; "
                "give more calibration data or leave the expert out with exclude=REGEX"
            )
    return {name: statistics[leader] for name, leader in leaders.items()}


def input_groups(
    layer: DecoderLayer, linears: Mapping[str, Linear], call: LayerCall, hidden: Tensor
) -> list[list[str]]:
    """Names of the linears that are given the same tensor, in the order of the calls, from one run of the layer."""
    groups: dict[str, list[str]] = {}
    for name, leader in _leaders(layer, linears, call, hidden).items():
        groups.setdefault(leader, []).append(name)
    return list(groups.values())


def _leaders(layer: DecoderLayer, linears: Mapping[str, Linear], call: LayerCall, hidden: Tensor) -> dict[str, str]:
    """Linear -> the first linear that was called with the same input tensor, in the order of the calls.

    Experts come last, parts of one stacked weight (gate and up) together: a sequence need not reach them all.
    """
    seen: list[tuple[str, Tensor]] = []  # holds the tensors, so that an address stands for one tensor only
    modules = {name: linear for name, linear in linears.items() if linear.place is None}
    with _watched(modules, lambda name, inputs: seen.append((name, inputs))), torch.no_grad():
        call.run(layer.module, hidden)
    leaders: dict[str, str] = {}
    first_with: dict[tuple[Any, ...], str] = {}
    for name, tensor in seen:
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        leaders[name] = first_with.setdefault(identity, name)
    silent = [name for name in modules if name not in leaders]
    if silent:
        raise InputError(f"{silent[0]}: the model never calls this linear layer, so it has no statistics; exclude it")
    for name, linear in linears.items():
        if linear.place is not None:
            leaders[name] = first_with.setdefault((linear.place.parameter, linear.place.expert), name)
    return leaders


@contextmanager
def _watched(linears: Mapping[str, Linear], seen: Seen) -> Iterator[None]:
    """Call `seen` with the input of each of these linears, just before they compute."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, inputs: seen(name, inputs[0])

    handles = [
        linear.module.register_forward_pre_hook(hook(name)) for name, linear in linears.items() if linear.place is None
    ]
    routed = any(linear.place for linear in linears.values())  # the mode slows every operation down a little
    try:
        with _WatchedExperts(linears, seen) if routed else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


class _WatchedExperts(TorchFunctionMode):
    """Experts are no modules: their projections are calls of F.linear with a slice of the stacked parameter."""

    def __init__(self, linears: Mapping[str, Linear], seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        self._names = {
            linear.parameter[linear.place.expert].data_ptr(): name
            for name, linear in linears.items()
            if linear.place is not None
        }

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        if func is nn.functional.linear:
            name = self._names.get(args[1].data_ptr())
            if name is not None:
                self._seen(name, args[0])
        return func(*args, **(kwargs or {}))
