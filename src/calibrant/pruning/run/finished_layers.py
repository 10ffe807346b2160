"""Finished decoder layers of a pruning run: a file each while it runs, the mask file in the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calibrant.artefacts.tensor_files import all_finite
from calibrant.errors import InputError
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear
from calibrant.pruning.masks.expert_tokens import experts_of
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.mask_record import LAYER, STAGE
from calibrant.pruning.masks.mask_writing import join_masks, write_masks
from calibrant.pruning.methods.composition import Method
from calibrant.pruning.run.weight_decisions import Decision
from calibrant.settings.sparsity import Pattern

RECORDED = ("name", "pattern", "requested_sparsity", "achieved_sparsity", "weights", "experts")  # of each layer


def write_decisions(
    file: Path,
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    decisions: Mapping[str, Decision],
    pattern: Pattern,
    method: Method,
    dtype: torch.dtype,
    rescaled: Mapping[str, Tensor],
) -> None:
    """One finished layer, in the checkpoint's orientation; codes are [outputs, inputs] whatever that is.

    Args:
        file: where to.
        layer: the decoder layer.
        linears: its linears, by name.
        decisions: what becomes of each.
        pattern: the sparsity that they were to have.
        method: how they were decided.
        dtype: number format of updated weights.
        rescaled: weights of other modules that were changed, by module.

    Raises:
        InputError: an updated weight is not finite in the number format.
    """
    masks = {name: linears[name].orient(decision.mask) for name, decision in decisions.items()}
    summary = {
        "name": layer.stored,
        "pattern": str(pattern),
        "requested_sparsity": pattern.sparsity,
        "kept": {name: int(mask.sum()) for name, mask in masks.items()},
    }
    if experts := _experts(linears, decisions):
        summary["experts"] = experts
    quantized = {name: found.quantized for name, found in decisions.items() if found.quantized is not None}
    if method.width is not None:
        summary["quantized"] = {
            "bits": method.width.bits,
            "group": method.width.group,
            "symmetric": bool(method.settings["symmetric"]),
            "pruned": method.criterion is not None,
            "codes": {name: list(found.codes.shape) for name, found in quantized.items()},
        }
        if rescaled:
            summary["rescaled"] = {name: list(weight.shape) for name, weight in rescaled.items()}
    weights = {
        f"{name}.weight": linears[name].orient(decision.weight).to(dtype)
        for name, decision in decisions.items()
        if decision.weight is not None
    } | {f"{name}.weight": weight.to(dtype) for name, weight in rescaled.items()}
    for name, weight in weights.items():
        if not all_finite(weight):
            number_format = str(dtype).removeprefix("torch.")
            raise InputError(f"{name}: its updated weights overflow {number_format}; use another --dtype")
    write_masks(file, masks, summary, weights or None, quantized)


def _experts(linears: Mapping[str, Linear], decisions: Mapping[str, Decision]) -> dict[str, Any]:
    """`expert_tokens.OF_LAYER`; empty where the layer has no experts, or their tokens were not counted."""
    found: dict[str, Any] = {}
    for name, linear in linears.items():
        place, tokens = linear.place, decisions[name].tokens
        if place is None or place.expert is None or tokens is None:
            continue
        of_module = found.setdefault(
            place.parameter.rpartition(".")[0], {"tokens": [None] * len(linear.parameter), "columns": 0}
        )
        of_module["tokens"][place.expert] = tokens
        of_module["columns"] = max(of_module["columns"], linear.weight.shape[1])
    return found


def read_decisions(file: Path, linears: Mapping[str, Linear]) -> tuple[dict[str, Decision], dict[str, Tensor]]:
    """The decisions of `write_decisions`, without codes and counts, and the weights of rescaled modules."""
    stored = read_masks(file, LAYER)
    decisions = {}
    for name, mask in stored.masks.items():
        weight = stored.weight(name)
        oriented = None if weight is None else linears[name].orient(weight)
        decisions[name] = Decision(linears[name].orient(mask), oriented)
    found = {name: stored.weight(name) for name in stored.rescaled}
    return decisions, {name: weight for name, weight in found.items() if weight is not None}


def is_whole(file: Path) -> bool:
    """Whether a finished layer lies in a file, every bit as it was written."""
    try:
        read_masks(file, LAYER).check(weights=True)
    except InputError:
        return False
    return True


def summarize_layer(file: Path) -> dict[str, Any]:
    """What a finished layer's file says of it, with its size and achieved sparsity."""
    metadata = read_masks(file, LAYER).metadata
    total = sum(rows * cols for rows, cols in metadata["shapes"].values())
    pruned = total - sum(metadata["kept"].values())
    return {**metadata, "weights": total, "achieved_sparsity": pruned / total if total else 0.0}


def join_layers(output: str | Path, files: Sequence[Path], described: Mapping[str, Any]) -> dict[str, Any]:
    """Write the mask file, and the file of updated weights, from those of the layers; returns the metadata."""
    layers = [summarize_layer(file) for file in files]
    shapes = {name: shape for layer in layers for name, shape in layer["shapes"].items()}
    kept = {name: count for layer in layers for name, count in layer["kept"].items()}
    total = sum(layer["weights"] for layer in layers)
    metadata = {
        **described,
        "stage": STAGE,
        "achieved_sparsity": 1 - sum(kept.values()) / total,
        "layers": [{key: layer[key] for key in RECORDED if key in layer} for layer in layers],
        "linears": {name: 1 - kept[name] / (shape[0] * shape[1]) for name, shape in shapes.items()},
    }
    if experts := experts_of(layers):
        done = described["settings"]["unreached"] if experts.unreached else None
        metadata["experts"] = {"experts": len(experts.tokens), "unreached": experts.unreached, "done": done}
    return join_masks(output, files, metadata)
