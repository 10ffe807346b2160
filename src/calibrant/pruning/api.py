"""Prune a model: from its directory and a calibration set to a mask file."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from calibrant import __version__
from calibrant.artefacts.atomic import read_json, write_json
from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.schema import check_vocabulary, read_calibration_set
from calibrant.errors import InputError
from calibrant.models.devices import choose_device, choose_dtype
from calibrant.models.load import dtype_name, fingerprint, load_config, model_id, resolve
from calibrant.models.streaming import StreamedModel
from calibrant.models.structure import DecoderLayer, Linear
from calibrant.pruning.engine import Calibration, Decision, calibrate, find_targets, observe_dense, prune_layer
from calibrant.pruning.masks import join_files, read_masks, weights_path, write_masks
from calibrant.pruning.methods import Method, compose
from calibrant.pruning.partial import Partial
from calibrant.pruning.patterns import Pattern

Targets = list[tuple[DecoderLayer, dict[str, Linear]]]


@dataclass(frozen=True)
class _Inputs:
    """Token ids [sequences, tokens] of a calibration set and the hash of its file."""

    ids: torch.Tensor
    sha256: str


def prune(
    model: str | Path,
    calibration: str | Path | None,
    method: str,
    sparsity: str,
    options: Mapping[str, str] | None = None,
    *,
    output: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Choose the weights of every decoder layer to keep, and write them as a mask file (docs/pruning.md).

    One decoder layer is in memory at a time. Finished layers lie in `<output>.partial/`; the same call
    after an interruption goes on there and ends with the same bytes.

    Args:
        model: a model directory or hub id.
        calibration: the calibration set (Parquet); may be None for methods that read no data.
        method: a name in `methods.METHODS`.
        sparsity: `0.6` (the share pruned) or `2:4` (two kept of every four).
        options: `key=value` settings of the method.
        output: the mask file; updated weights go to `*.weights.safetensors` beside it.
        dtype: `float32`, `bfloat16`, `float16`, or `auto` (the checkpoint's own).
        device: `cpu`, `cuda`, or `auto`.
        progress: show layers, achieved sparsity and time left on stderr.

    Returns:
        The metadata of the mask file.

    Raises:
        InputError: bad settings, a model or calibration set that cannot be used, or numbers that overflow.
    """
    composed = compose(method, sparsity, options)
    path = resolve(model)
    inputs = _read_inputs(calibration, composed, path)
    streamed = StreamedModel(
        path, choose_dtype(dtype, getattr(load_config(path), "dtype", None)), choose_device(device)
    )
    targets: Targets = find_targets(streamed, composed)
    described = _describe(composed, streamed, sparsity, inputs)
    partial = Partial(output, {**described, "threads": torch.get_num_threads()})
    with torch.no_grad():
        layers = _run(streamed, targets, composed, inputs, partial, progress)
    return _finish(output, described, composed, partial, layers)


def _read_inputs(calibration: str | Path | None, method: Method, model: Path) -> _Inputs | None:
    if not method.calibrated:
        return None
    if calibration is None:
        raise InputError(f"method {method.name} needs calibration data; give --calibration SET.parquet")
    ids = read_calibration_set(calibration).input_ids
    config = load_config(model)
    check_vocabulary(calibration, ids, int(config.get_text_config().vocab_size))
    return _Inputs(torch.from_numpy(ids), sha256_file(calibration))


def _describe(method: Method, streamed: StreamedModel, sparsity: str, inputs: _Inputs | None) -> dict[str, Any]:
    """Everything that decides the result."""
    return {
        "library_version": __version__,
        "model": model_id(streamed.path),
        "model_sha256": fingerprint(streamed.path),
        "calibration_sha256": inputs.sha256 if inputs else None,
        "sequences": inputs.ids.shape[0] if inputs else 0,
        "sequence_length": inputs.ids.shape[1] if inputs else 0,
        "method": method.name,
        "sparsity": sparsity,
        "settings": dict(method.settings),
        "dtype": dtype_name(streamed.dtype),
        "device": streamed.device.type,
        "requested_sparsity": method.pattern.sparsity,
    }


def _run(
    streamed: StreamedModel, targets: Targets, method: Method, inputs: _Inputs | None, partial: Partial, progress: bool
) -> list[dict[str, Any]]:
    """Prune every layer into `partial`; a summary of each."""
    calibration = calibrate(streamed, [layer for layer, _ in targets], inputs.ids) if inputs else None
    patterns = _allocate(streamed, targets, method, calibration, partial, progress)
    start = partial.resume_point()
    hidden = calibration.hidden if calibration else None
    if start and calibration:
        hidden = partial.load_hidden(start)
    summaries = [_summary(partial.layer_file(index)) for index in range(start)]
    bar = tqdm(targets, desc=f"{method.name} {method.pattern}", initial=start, disable=not progress, file=sys.stderr)
    for index, (layer, linears) in enumerate(targets):
        if index < start:
            continue
        file = partial.layer_file(index)
        done = file.exists()
        streamed.load(layer.name + ".")
        if hidden is not None:
            partial.save_hidden(index, hidden)
        decisions = prune_layer(
            layer,
            linears,
            method,
            patterns[index],
            calibration.calls[index] if calibration else None,
            hidden,
            streamed.device,
            last=index == len(targets) - 1,
            known=_read_decisions(file, linears) if done else None,
        )
        if not done:
            _write_decisions(file, layer, linears, decisions, patterns[index], streamed.dtype)
        streamed.release(layer.name + ".")
        summaries.append(_summary(file))
        bar.set_postfix_str(f"{layer.name} sparsity {summaries[-1]['achieved_sparsity']:.4f}")
        bar.update()
    bar.close()
    return summaries


def _allocate(
    streamed: StreamedModel,
    targets: Targets,
    method: Method,
    calibration: Calibration | None,
    partial: Partial,
    progress: bool,
) -> list[Pattern]:
    """One pattern for each layer; what the allocation saw in the dense model is kept for a resumed run."""
    observations: list[float] = []
    if method.allocation.observe is not None and calibration is not None:
        file = partial.allocation_file()
        if not file.exists():
            seen = observe_dense(streamed, targets, calibration, method)
            name = f"{method.name}: dense pass"
            write_json(file, list(tqdm(seen, name, total=len(targets), disable=not progress, file=sys.stderr)))
        observations = read_json(file)
    sizes = [sum(linear.weight.numel() for linear in linears.values()) for _, linears in targets]
    return method.allocation.allocate(method.pattern, observations, sizes, method.settings)


def _write_decisions(
    file: Path,
    layer: DecoderLayer,
    linears: Mapping[str, Linear],
    decisions: Mapping[str, Decision],
    pattern: Pattern,
    dtype: torch.dtype,
) -> None:
    """One finished layer, in the checkpoint's orientation."""
    masks = {name: linears[name].orient(decision.mask) for name, decision in decisions.items()}
    summary = {
        "name": layer.name,
        "pattern": str(pattern),
        "requested_sparsity": pattern.sparsity,
        "kept": {name: int(mask.sum()) for name, mask in masks.items()},
    }
    weights = {
        f"{name}.weight": linears[name].orient(decision.weight).to(dtype)
        for name, decision in decisions.items()
        if decision.weight is not None
    }
    write_masks(file, masks, summary, weights or None)


def _read_decisions(file: Path, linears: Mapping[str, Linear]) -> dict[str, Decision]:
    """The inverse of `_write_decisions`."""
    from safetensors.torch import load_file

    stored = read_masks(file)
    weights = load_file(weights_path(file)) if stored.metadata["weights_updated"] else {}
    decisions = {}
    for name, mask in stored.masks.items():
        weight = weights.get(f"{name}.weight")
        oriented = None if weight is None else linears[name].orient(weight)
        decisions[name] = Decision(linears[name].orient(mask), oriented)
    return decisions


def _summary(file: Path) -> dict[str, Any]:
    metadata = read_masks(file).metadata
    total = sum(rows * cols for rows, cols in metadata["shapes"].values())
    pruned = total - sum(metadata["kept"].values())
    return {**metadata, "weights": total, "achieved_sparsity": pruned / total if total else 0.0}


def _finish(
    output: str | Path, described: dict[str, Any], method: Method, partial: Partial, layers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Join the finished layers into the mask file and drop the partial folder."""
    shapes = {name: shape for layer in layers for name, shape in layer["shapes"].items()}
    kept = {name: count for layer in layers for name, count in layer["kept"].items()}
    total = sum(layer["weights"] for layer in layers)
    metadata = {
        **described,
        "achieved_sparsity": 1 - sum(kept.values()) / total,
        "layers": [
            {key: layer[key] for key in ("name", "pattern", "requested_sparsity", "achieved_sparsity", "weights")}
            for layer in layers
        ],
        "linears": {name: 1 - kept[name] / (shape[0] * shape[1]) for name, shape in shapes.items()},
        "shapes": shapes,
        "weights_updated": method.updates_weights,
    }
    files = [partial.layer_file(index) for index in range(len(layers))]
    if method.updates_weights:
        join_files(weights_path(output), [weights_path(file) for file in files], metadata)
    join_files(output, files, metadata)
    partial.remove()
    return json.loads(json.dumps(metadata, sort_keys=True))  # type: ignore[no-any-return]
