"""Run one decoder layer over the calibration set and collect the statistics of its linear layers' inputs."""

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.models.compute.side_by_side import AT_ONCE, side_by_side
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear
from calibrant.models.structure.layer_calls import LayerCall
from calibrant.pruning.methods.input_statistics import (
    Kind,
    SequenceSums,
    Statistics,
    add,
    new_statistics,
    sequence_sums,
    update,
)
from calibrant.pruning.run.linear_inputs import routed, watched


class _SeenEnoughError(Exception):
    """The last input of interest was seen; the rest of the layer need not run."""


def propagate(layer: DecoderLayer, calls: Sequence[LayerCall], hidden: Tensor, device: torch.device) -> None:
    """Replace `hidden` [sequences, tokens, width] by the layer's outputs; each sequence is a batch of its own."""

    def run(index: int) -> None:
        output = calls[index].run(layer.module, hidden[index : index + 1].to(device))
        hidden[index : index + 1] = output.to(hidden.device)

    for _ in side_by_side(run, range(len(calls)), device):
        pass


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

    Those of an expert that no token reaches are of no tokens.

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
        InputError: a linear layer was never called.
    """
    if not linears:  # all of this layer is left out
        if move_on:
            propagate(layer, calls, hidden, device)
        return {}
    inputs = SharedInputs(linears)
    statistics: dict[str, Statistics] = {}

    def first(name: str, tensor: Tensor) -> None:
        if inputs.leader(name, tensor) == name:
            if name not in statistics:
                statistics[name] = new_statistics(linears[name].weight.shape[1], kinds, device)
            update(statistics[name], tensor)

    # A Hessian is larger than what it is made of, and experts are watched in the caller's thread only.
    at_once = 1 if "hessian" in kinds or routed(linears) else AT_ONCE
    own = threading.local()

    def others(name: str, tensor: Tensor) -> None:
        if at_once == 1:
            update(statistics[name], tensor)
        else:
            own.seen.append((name, sequence_sums(statistics[name], tensor)))
        if name == last and not move_on:
            raise _SeenEnoughError

    def run(index: int) -> list[tuple[str, SequenceSums]]:
        seen: list[tuple[str, SequenceSums]] = []
        own.seen = seen
        try:
            output = calls[index].run(layer.module, hidden[index : index + 1].to(device))
        except _SeenEnoughError:
            return seen
        if move_on:
            hidden[index : index + 1] = output.to(hidden.device)
        return seen

    with torch.no_grad():
        with watched(inputs.watched, first):
            run(0)
        inputs.check_called()
        for name in inputs.watched.keys() - statistics.keys() - inputs.leaders.keys():  # experts not yet reached
            statistics[name] = new_statistics(linears[name].weight.shape[1], kinds, device)
        # with experts, which call is the last differs by sequence
        last = None if routed(linears) else next(reversed(statistics))
        with watched({name: linears[name] for name in statistics}, others):
            for seen in side_by_side(run, range(1, len(calls)), device, at_once):
                for name, sums in seen:  # in the order of the sequences, whoever was first
                    add(statistics[name], sums)
    return {name: statistics[leader] for name, leader in inputs.all_leaders().items()}


class SharedInputs:
    """Which linears are given the same tensor: the first one called with it leads the others.

    `watched` are the linears to watch. Of experts only one of the parts of a stacked weight is (gate, not up):
    their inputs are one by construction, and a sequence need not reach every expert.
    """

    def __init__(self, linears: Mapping[str, Linear]) -> None:
        self.leaders: dict[str, str] = {}  # of the linears called so far, in the order of the calls
        self._modules = [name for name, linear in linears.items() if linear.place is None]
        self._experts: dict[str, str] = {}
        self._first_with: dict[tuple[Any, ...], str] = {}
        self._alive: list[Tensor] = []  # so that an address stands for one tensor only
        for name, linear in linears.items():
            if linear.place is not None:
                key = (linear.place.parameter, linear.place.expert)
                self._experts[name] = self._first_with.setdefault(key, name)
        self.watched = {
            name: linear for name, linear in linears.items() if linear.place is None or self._experts[name] == name
        }

    def leader(self, name: str, tensor: Tensor) -> str:
        """The leader of a linear that is called with this tensor."""
        if name in self._experts:
            return self.leaders.setdefault(name, name)
        self._alive.append(tensor)
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        return self.leaders.setdefault(name, self._first_with.setdefault(identity, name))

    def check_called(self) -> None:
        """Refuse linears that one sequence never called, experts apart; let go of the tensors.

        Raises:
            InputError: names the first such linear.
        """
        self._alive.clear()
        for name in self._modules:
            if name not in self.leaders:
                raise InputError(
                    f"{name}: the model never calls this linear layer, so it has no statistics; leave it out with "
                    "exclude=REGEX"
                )

    def all_leaders(self) -> dict[str, str]:
        """Every linear -> its leader."""
        return {**{name: self.leaders[name] for name in self._modules}, **self._experts}
