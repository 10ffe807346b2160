"""Prune a whole model that is open for streaming: from its layers' weights and inputs to one mask file."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.pruning.methods.composition import Method
from calibrant.pruning.run.activations import ActivationPlace, Activations
from calibrant.pruning.run.allocation_pass import Targets, allocate
from calibrant.pruning.run.finished_layers import (
    is_whole,
    join_layers,
    read_decisions,
    summarize_layer,
    write_decisions,
)
from calibrant.pruning.run.layer_pruning import calibrate, find_targets, prune_layer
from calibrant.pruning.run.layer_steps import walk
from calibrant.pruning.run.partial import Partial
from calibrant.pruning.run.run_inputs import Inputs, identity, read_inputs
from calibrant.pruning.run.statistics_file import DenseStatistics
from calibrant.version import __version__


def prune_model(
    streamed: StreamedModel,
    method: Method,
    calibration: str | Path | None,
    output: str | Path,
    *,
    statistics: str | Path | None = None,
    kernels: Collection[str] = (),
    activations: ActivationPlace = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Prune every decoder layer of an opened model and write the masks.

    One decoder layer is in memory at a time. Finished layers lie in `<output>.partial/`; the same call
    after an interruption goes on there and ends with the same bytes.

    Args:
        streamed: the model, by `run_inputs.open_model`.
        method: what is pruned and how, by `methods.composition.compose`.
        calibration: the calibration set (Parquet); may be None for methods that read no data.
        output: the mask file; updated weights go to `*.weights.safetensors` beside it.
        statistics: a file of `statistics_file.write_dense_statistics` to read in place of a pass over the dense model.
        kernels: those of `statistics_file.KERNELS` that the caller fixed; the statistics must be made with the same.
        activations: where the calibration set's activations lie: `memory`, `disk` or `auto`.
        progress: show layers, achieved sparsity and time left on stderr.

    Returns:
        The metadata of the mask file.

    Raises:
        InputError: the calibration set or the statistics are missing or do not fit, or numbers overflow.
    """
    inputs = _inputs(calibration, method, streamed)
    targets = find_targets(streamed, method)
    described = {
        "library_version": __version__,
        **identity(streamed, inputs),
        "method": method.name,
        "sparsity": str(method.target),
        "settings": dict(method.settings),
        "requested_sparsity": method.pattern.sparsity,
    }
    dense = _dense(statistics, method, described, kernels)
    partial = Partial(output, {**described, "threads": torch.get_num_threads()})
    with partial, torch.no_grad():
        _prune_layers(
            streamed, targets, method, inputs, dense, partial, Activations(partial.folder, activations), progress
        )
    files = [partial.layer_file(index) for index in range(len(targets))]
    metadata = join_layers(output, files, described)
    partial.remove()
    return metadata


def _inputs(calibration: str | Path | None, method: Method, streamed: StreamedModel) -> Inputs | None:
    if not method.calibrated:
        return None
    if calibration is None:
        raise InputError(f"method {method.name} needs calibration data; give --calibration SET.parquet")
    return read_inputs(calibration, streamed.checkpoint)


def _dense(
    path: str | Path | None, method: Method, described: Mapping[str, Any], kernels: Collection[str]
) -> DenseStatistics | None:
    """The file of dense statistics, when one is given and the method can use it."""
    if path is None:
        return None
    if method.scales_inputs:
        raise InputError(
            f"statistics {path}: method {method.name} runs each layer to see what makes its inputs; leave them out"
        )
    needs = method.allocation.needs | (method.needs if method.sequential == "dense" else frozenset())
    if not needs:
        raise InputError(
            f"statistics {path}: method {method.name} with sequential={method.sequential} takes nothing from the dense "
            "model's statistics; leave them out, or choose owl or sequential=dense"
        )
    return DenseStatistics(path, described, needs, kernels)


def _prune_layers(
    streamed: StreamedModel,
    targets: Targets,
    method: Method,
    inputs: Inputs | None,
    dense: DenseStatistics | None,
    partial: Partial,
    activations: Activations,
    progress: bool,
) -> None:
    """Prune every layer into `partial`."""
    layers = [layer for layer, _ in targets]
    from_file = dense is not None and method.sequential == "dense"  # then no sequence is run at all
    calibration = None
    if inputs is not None and not from_file:
        calibration = calibrate(streamed, layers, inputs.ids, activations.empty)
    patterns = allocate(streamed, targets, method, calibration, dense, partial, activations, progress)
    for step in walk(streamed, layers, calibration, partial, is_whole, f"{method.name} {method.target}", progress):
        linears, pattern = targets[step.index][1], patterns[step.index]
        if step.done and step.hidden is None:
            continue
        decisions, rescaled = prune_layer(
            step.layer,
            linears,
            method,
            pattern,
            step.calls,
            step.hidden,
            streamed.device,
            last=step.last,
            places=streamed.places,
            statistics=dense.of(linears, streamed.device) if dense is not None and from_file else None,
            known=read_decisions(step.file, linears) if step.done else None,
        )
        if not step.done:
            write_decisions(step.file, step.layer, linears, decisions, pattern, method, streamed.dtype, rescaled)
        achieved = summarize_layer(step.file)["achieved_sparsity"]
        step.note = step.layer.stored + (f" sparsity {achieved:.4f}" if method.target.pattern else "")
