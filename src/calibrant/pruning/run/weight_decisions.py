"""What becomes of a decoder layer's weights: the method's choice, and another for experts that no token reaches."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.models.structure.decoder_layers import Linear
from calibrant.pruning.masks.mask_file import zero_pruned
from calibrant.pruning.methods.composition import Method
from calibrant.pruning.methods.criteria import magnitude
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.quantizers import rtn
from calibrant.pruning.methods.quantizers.quantizer import Quantizer
from calibrant.pruning.methods.selection import select
from calibrant.pruning.quantized_weight import QuantizedWeight, join_rows
from calibrant.settings.sparsity import Pattern


@dataclass(frozen=True)
class Decision:
    """What becomes of one linear: its keep-mask, and new weights when the method changes them, both [rows, cols].

    quantized: codes of the new weights, where there is a width.
    tokens: how many tokens its statistics are of; None where none were collected.
    """

    mask: Tensor
    weight: Tensor | None = None
    quantized: QuantizedWeight | None = None
    tokens: int | None = None


def decide(
    linears: Mapping[str, Linear], statistics: Mapping[str, Statistics], method: Method, pattern: Pattern
) -> dict[str, Decision]:
    """Choose the weights of one decoder layer.

    Raises:
        InputError: naming the linear whose scores or statistics cannot be used.
    """
    decisions = {}
    for name, linear in linears.items():
        of_input = statistics.get(name)
        known = of_input is None or reached(linear, of_input, method)
        try:
            decision = (_decide_linear if known else _decide_unreached)(linear, of_input, method, pattern)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        decisions[name] = replace(decision, tokens=of_input.tokens if of_input else None)
    return decisions


def reached(linear: Linear, statistics: Statistics, method: Method) -> bool:
    """Whether anything is known of a linear's inputs; nothing is of an expert to which no token was routed.

    Raises:
        InputError: nothing is, and the option `unreached` says that this is an error.
    """
    if linear.place is None or statistics.tokens:
        return True
    if method.settings["unreached"] == "error":
        raise InputError(
            f"{linear.name}: no token of the calibration set reaches this expert; give more text, or the option "
            f"unreached={'magnitude' if method.criterion else 'nearest'} or unreached=keep"
        )
    return False


def decide_in_place(
    linears: Mapping[str, Linear], statistics: Mapping[str, Statistics], method: Method, pattern: Pattern
) -> dict[str, Decision]:
    """As `decide`, and written into the loaded model, linear by linear; new weights are views of it.

    So the weights of a layer are in memory once. What was computed of statistics is let go after their last linear.

    Raises:
        InputError: as `decide`.
    """
    decisions = {}
    uses = Counter(id(statistics.get(name)) for name in linears)
    for name, linear in linears.items():
        chosen = decide({name: linear}, statistics, method, pattern)
        apply_decisions(linears, chosen)
        updated = chosen[name].weight is not None
        decisions[name] = replace(chosen[name], weight=linear.weight if updated else None)
        of_input = statistics.get(name)
        uses[id(of_input)] -= 1
        if of_input is not None and not uses[id(of_input)]:
            of_input.factors.clear()
    return decisions


def apply_decisions(linears: Mapping[str, Linear], decisions: Mapping[str, Decision]) -> None:
    """Write a layer's zeros, and its new weights where there are any, into the loaded model."""
    for name, decision in decisions.items():
        linear = linears[name]
        if decision.weight is not None:
            linear.weight.copy_(decision.weight)
        zero_pruned(linear.weight, decision.mask)


def _decide_linear(linear: Linear, statistics: Statistics | None, method: Method, pattern: Pattern) -> Decision:
    parts = [
        _decide_rows(linear.name, linear.weight[rows], statistics or Statistics(), method, pattern)
        for rows in linear.parts or (slice(None),)
    ]
    return parts[0] if len(parts) == 1 else _join(parts)


def _decide_rows(name: str, weight: Tensor, statistics: Statistics, method: Method, pattern: Pattern) -> Decision:
    if method.criterion is None:
        mask = torch.ones_like(weight, dtype=torch.bool)
    elif method.solves and method.criterion.solve is not None:
        return Decision(*method.criterion.solve(weight, statistics, pattern, method.width, method.settings))
    else:
        score = method.criterion.score(weight, statistics, method.settings)
        mask = select(score, pattern)
        if method.refinement is not None and method.refinement.applies(name, method.settings):
            mask = method.refinement.refine(weight, score, mask, statistics, pattern, method.settings)
    return _quantize(weight, mask, statistics, method, method.quantizer)


def _quantize(
    weight: Tensor, mask: Tensor, statistics: Statistics, method: Method, quantizer: Quantizer | None
) -> Decision:
    """The decision for a mask: what it keeps is quantized, where there is a width."""
    if quantizer is None or method.width is None:
        return Decision(mask)
    kept = weight if method.criterion is None else weight * mask
    quantized = quantizer.quantize(kept, statistics, method.width, method.settings)
    return Decision(mask, quantized.dequantized(), quantized)


def _decide_unreached(linear: Linear, statistics: Statistics | None, method: Method, pattern: Pattern) -> Decision:
    weight = linear.weight
    if method.settings["unreached"] == "keep":
        mask = torch.ones_like(weight, dtype=torch.bool)
        return Decision(mask, weight if method.updates_weights else None)
    mask = select(magnitude.CRITERION.score(weight, Statistics(), method.settings), pattern)
    decision = _quantize(weight, mask, Statistics(), method, rtn.QUANTIZER)
    return replace(decision, weight=weight * mask) if method.solves and method.width is None else decision


def _join(parts: Sequence[Decision]) -> Decision:
    weights = [part.weight for part in parts if part.weight is not None]
    quantized = [part.quantized for part in parts if part.quantized is not None]
    return Decision(
        torch.cat([part.mask for part in parts]),
        torch.cat(weights) if weights else None,
        join_rows(quantized) if quantized else None,
    )
