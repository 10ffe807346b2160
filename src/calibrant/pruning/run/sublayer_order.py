"""`sequential=sublayer`: inside a decoder layer, each linear sees inputs from the pruned linears before it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import torch
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]
from torch import Tensor

from calibrant.errors import InputError
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear
from calibrant.models.structure.layer_calls import LayerCall
from calibrant.pruning.methods.input_statistics import Kind, Statistics, new_statistics, update
from calibrant.pruning.run.linear_inputs import routed, watched
from calibrant.pruning.run.statistics_collection import SharedInputs, collect

Prune = Callable[[Mapping[str, Linear], Mapping[str, Statistics]], None]


def prune_in_turn(
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    calls: Sequence[LayerCall],
    hidden: Tensor,
    kinds: Collection[Kind],
    device: torch.device,
    prune: Prune,
    *,
    move_on: bool,
) -> bool:
    """Prune the linears stage by stage, in the order in which the layer calls them.

    A stage is the linears that share an input (query, key and value), or one projection of all experts.
    Without experts one pass does it: every sequence's run is halted at a stage's input until the stage is
    pruned, at the price of the runs' intermediate results in memory. With experts every stage takes a pass
    that ends at its inputs, since a sequence need not reach every expert.

    Args:
        layer, linears, calls, hidden, kinds, device: as for `collect`.
        prune: chooses the weights of one stage from its statistics and writes the zeros into the model.
        move_on: whether `hidden` is to be replaced by the outputs of the pruned layer.

    Returns:
        Whether `hidden` was replaced; if not and `move_on`, a pass is still to be made.

    Raises:
        InputError: linears that are never called, or called in another order for another sequence.
    """
    with torch.no_grad():
        stages = _stages(layer, linears, calls[0], hidden[:1].to(device))
        if routed(linears):
            for stage in stages:
                members = {name: linears[name] for names in stage.values() for name in names}
                prune(members, collect(layer, members, calls, hidden, kinds, device, move_on=False))
            return False
        groups = [(leader, names) for stage in stages for leader, names in stage.items()]
        _one_pass(layer, linears, groups, calls, hidden, kinds, device, prune, move_on)
    return move_on


def _one_pass(
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    groups: Sequence[tuple[str, list[str]]],
    calls: Sequence[LayerCall],
    hidden: Tensor,
    kinds: Collection[Kind],
    device: torch.device,
    prune: Prune,
    move_on: bool,
) -> None:
    """Halt every sequence's run at each leader's input; prune its group; let the runs go on to the next."""
    director = getcurrent()

    def seen(name: str, inputs: Tensor) -> None:
        director.switch((name, inputs))

    def run(index: int) -> Tensor:
        return calls[index].run(layer.module, hidden[index : index + 1].to(device))

    with watched({leader: linears[leader] for leader, _ in groups}, seen):
        runs = [greenlet(partial(run, index)) for index in range(len(calls))]
        for leader, names in groups:
            statistics = new_statistics(linears[leader].weight.shape[1], kinds, device)
            for halted in runs:
                reached = halted.switch()
                if isinstance(reached, Tensor) or reached[0] != leader:
                    raise InputError(
                        f"{leader}: its decoder layer calls its linear layers in another order for another sequence; "
                        "use sequential=layer"
                    )
                update(statistics, reached[1])
            prune({name: linears[name] for name in names}, dict.fromkeys(names, statistics))
        for index, halted in enumerate(runs):
            if move_on:
                hidden[index : index + 1] = halted.switch().to(hidden.device)
            else:
                halted.throw()  # ends it: GreenletExit


def _stages(
    layer: DecoderLayer, linears: Mapping[str, Linear], call: LayerCall, hidden: Tensor
) -> list[dict[str, list[str]]]:
    """Stages in the order of the calls, each {leader: the linears that share its input}, from one run of the layer."""
    inputs = SharedInputs(linears)

    def seen(name: str, tensor: Tensor) -> None:
        inputs.leader(name, tensor)

    def stage(leader: str) -> str:
        place = linears[leader].place
        return place.parameter if place else leader

    with watched(inputs.watched, seen):
        call.run(layer.module, hidden)
    inputs.check_called()
    stages: dict[str, dict[str, list[str]]] = {stage(leader): {} for leader in inputs.leaders.values()}
    for name, leader in inputs.all_leaders().items():
        stages.setdefault(stage(leader), {}).setdefault(leader, []).append(name)
    return list(stages.values())
