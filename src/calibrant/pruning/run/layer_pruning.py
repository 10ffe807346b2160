"""Prune a streamed model one decoder layer at a time: read it, collect statistics, choose, go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.models.checkpoint.key_map import ParameterPlace
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import (
    DecoderLayer,
    Linear,
    check_exclude,
    find_decoder_layers,
    find_linears,
    split_fused,
)
from calibrant.models.structure.layer_calls import Allocate, LayerCall, record_calls
from calibrant.models.structure.output_head import output_head
from calibrant.models.structure.stored_names import check_own_tensors
from calibrant.pruning.methods.composition import Method
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.selection import check_divisible
from calibrant.pruning.run.input_scales import apply_rescaled, fold_input_scales
from calibrant.pruning.run.statistics_collection import collect, propagate
from calibrant.pruning.run.sublayer_order import prune_in_turn
from calibrant.pruning.run.weight_decisions import Decision, apply_decisions, decide_in_place
from calibrant.settings.sparsity import NM, Pattern
from calibrant.settings.target import check_group

Decisions = tuple[dict[str, Decision], dict[str, Tensor]]  # of the linears; weights of other modules, by their names


@dataclass(frozen=True)
class Calibration:
    """Inputs of a decoder layer [sequences, tokens, width], and how the model calls each layer for each sequence."""

    hidden: Tensor
    calls: list[list[LayerCall]]


def find_targets(streamed: StreamedModel, method: Method) -> list[tuple[DecoderLayer, dict[str, Linear]]]:
    """The decoder layers and the linears to prune in each, checked against the pattern.

    Raises:
        InputError: nothing to prune, or M or the group does not divide a layer's input features.
    """
    targets = []
    layers = find_decoder_layers(streamed.model, streamed.places)
    check_exclude(layers, method.exclude, streamed.places)
    for layer in layers:
        linears = find_linears(layer, method.exclude, streamed.places)
        if method.settings["fused"] == "parts":
            linears = split_fused(linears, streamed.model.config.model_type)
        check_own_tensors([name for name, linear in linears.items() if linear.place is None], streamed.places)
        targets.append((layer, linears))
    if not any(linears for _, linears in targets):
        excluded = f" after exclude={method.exclude}" if method.exclude else ""
        raise InputError(f"{type(streamed.model).__name__}: no linear layer is left to prune{excluded}")
    refinement = method.refinement
    if refinement and not any(refinement.applies(name, method.settings) for _, linears in targets for name in linears):
        raise InputError(f"method {method.name}: its scope holds no linear layer of this model; choose a wider one")
    columns = {name: linear.weight.shape[1] for _, linears in targets for name, linear in linears.items()}
    if isinstance(method.pattern, NM):
        for name, cols in columns.items():
            try:
                check_divisible(cols, method.pattern.m)
            except InputError as error:
                raise InputError(f"sparsity {method.pattern}: {name}: {error}") from None
    if method.width is not None and method.width.group is not None:
        check_group(method.width.group, columns)
    return targets


def calibrate(
    streamed: StreamedModel, layers: list[DecoderLayer], input_ids: Tensor, allocate: Allocate = torch.empty
) -> Calibration:
    """Record the first layer's inputs and all layers' calls; the embeddings are in memory only meanwhile.

    `allocate` gives the tensor that holds the inputs (activations.py: in memory or on disk).
    """
    outside = _outside(streamed, layers)
    for target in outside:
        streamed.load(target)
    hidden, calls = record_calls(streamed.model, layers, input_ids, allocate)
    for target in outside:
        streamed.release(target)
    return Calibration(hidden, calls)


def _outside(streamed: StreamedModel, layers: Sequence[DecoderLayer]) -> list[str]:
    """Parameters outside the decoder layers, without those of a head that shares none with the embeddings."""
    model = streamed.model
    inside = tuple(f"{layer.name}." for layer in layers)
    head = {id(module) for module in output_head(model).modules()}
    of_head = {name for name, module in model.named_modules() if id(module) in head}
    shared = set(dict(getattr(model, "all_tied_weights_keys", None) or {}).values())
    return [
        target
        for target in streamed.sources
        if not target.startswith(inside) and (target in shared or target.rpartition(".")[0] not in of_head)
    ]


def prune_layer(
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    method: Method,
    pattern: Pattern,
    calls: Sequence[LayerCall] | None,
    hidden: Tensor | None,
    device: torch.device,
    *,
    last: bool,
    places: Mapping[str, ParameterPlace],
    statistics: Mapping[str, Statistics] | None = None,
    known: Decisions | None = None,
) -> Decisions:
    """Prune or quantize one loaded decoder layer and replace `hidden` by what the next layer is given.

    `layer` mode: statistics from the layer's dense weights, then its outputs from the pruned ones.
    `sublayer` mode: as `layer`, but linears see inputs from the pruned linears before them in the layer.
    `dense` mode: outputs and statistics from the dense weights, in one pass.
    Without `calls` and `hidden` the layer is pruned from the `statistics` given, or from its weights alone.
    `known` are the decisions of an earlier, interrupted run; nothing is collected then.

    Returns:
        What becomes of each linear, and the new weights of other modules that were changed.
    """
    rescaled: dict[str, Tensor] = {}
    if hidden is None or calls is None:
        return decide_in_place(linears, statistics or {}, method, pattern), rescaled
    dense = method.sequential == "dense"
    if known is not None:
        decisions, rescaled = known
        if not dense:
            apply_decisions(linears, decisions)
            apply_rescaled(layer, rescaled, places)
    elif method.sequential == "sublayer":
        found: dict[str, Decision] = {}

        def prune(stage: Mapping[str, Linear], seen: Mapping[str, Statistics]) -> None:
            found.update(decide_in_place(stage, seen, method, pattern))

        moved = bool(linears) and prune_in_turn(
            layer, linears, calls, hidden, method.needs, device, prune, move_on=not last
        )
        decisions = {name: found[name] for name in linears}
        if moved:
            return decisions, rescaled
    else:
        # the first sequence's, before it moves on
        first = hidden[:1].to(device, copy=True) if method.scales_inputs else None
        collected = collect(layer, linears, calls, hidden, method.needs, device, move_on=dense and not last)
        if first is not None and linears:
            rescaled = fold_input_scales(layer, linears, collected, method, calls[0], first, places)
        decisions = decide_in_place(linears, collected, method, pattern)
        if dense:
            return decisions, rescaled
    if not last:
        propagate(layer, calls, hidden, device)
    return decisions, rescaled
