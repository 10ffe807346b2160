"""Prune a model: from its directory and a calibration set to a mask file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.pruning.methods.composition import Method, compose
from calibrant.pruning.run.activations import Activations, Place
from calibrant.pruning.run.allocation_pass import Targets, allocate
from calibrant.pruning.run.finished_layers import join_layers, read_decisions, summarize_layer, write_decisions
from calibrant.pruning.run.layer_pruning import calibrate, find_targets, prune_layer
from calibrant.pruning.run.layer_steps import walk
from calibrant.pruning.run.partial import Partial
from calibrant.pruning.run.run_inputs import Inputs, identity, open_model, read_inputs
from calibrant.pruning.run.statistics_file import DenseStatistics
from calibrant.version import __version__


def prune(
    model: str | Path,
    calibration: str | Path | None,
    method: str,
    sparsity: str,
    options: Mapping[str, str] | None = None,
    *,
    output: str | Path,
    statistics: str | Path | None = None,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "auto",
    products: str = "auto",
    activations: Place = "auto",
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
        statistics: a file of `dense.write_dense_statistics` for this model and calibration set, so that OWL's
            pass over the dense model, or the only pass of `sequential=dense`, is not made again; same result.
        dtype: as `models.compute.number_formats.choose_number_format` takes it.
        device: as `models.compute.devices.choose_device` takes it.
        attention: `sdpa` for PyTorch's kernel always, `auto` for a faster one where there is one (docs/performance.md).
        products: `plain` for PyTorch's products always, `auto` for faster ones where there are (docs/performance.md).
        activations: where the calibration set's activations lie: `memory`, `disk`, or `auto` (disk when they
            would take more than a quarter of the free memory); same result.
        progress: show layers, achieved sparsity and time left on stderr.

    Returns:
        The metadata of the mask file.

    Raises:
        InputError: bad settings, a model or calibration set that cannot be used, or numbers that overflow.
    """
    composed = compose(method, sparsity, options)
    streamed = open_model(model, dtype, device, attention, products, composed.needs)
    inputs = _inputs(calibration, composed, streamed)
    targets = find_targets(streamed, composed)
    described = {
        "library_version": __version__,
        **identity(streamed, inputs),
        "method": composed.name,
        "sparsity": sparsity,
        "settings": dict(composed.settings),
        "requested_sparsity": composed.pattern.sparsity,
    }
    given = [name for name, value in (("attention", attention), ("products", products)) if value != "auto"]
    dense = _dense(statistics, composed, described, given)
    partial = Partial(output, {**described, "threads": torch.get_num_threads()})
    with torch.no_grad():
        _run(streamed, targets, composed, inputs, dense, partial, Activations(partial.folder, activations), progress)
    files = [partial.layer_file(index) for index in range(len(targets))]
    metadata = join_layers(output, files, described, weights_updated=composed.updates_weights)
    partial.remove()
    return metadata


def _inputs(calibration: str | Path | None, method: Method, streamed: StreamedModel) -> Inputs | None:
    if not method.calibrated:
        return None
    if calibration is None:
        raise InputError(f"method {method.name} needs calibration data; give --calibration SET.parquet")
    return read_inputs(calibration, streamed.path)


def _dense(
    path: str | Path | None, method: Method, described: Mapping[str, Any], given: Sequence[str]
) -> DenseStatistics | None:
    """The file of dense statistics, when one is given and the method can use it."""
    if path is None:
        return None
    needs = method.allocation.needs | (method.needs if method.sequential == "dense" else frozenset())
    if not needs:
        raise InputError(
            f"statistics {path}: method {method.name} with sequential={method.sequential} takes nothing from the dense "
            "model's statistics; leave them out, or choose owl or sequential=dense"
        )
    return DenseStatistics(path, described, needs, given)


def _run(
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
    for step in walk(streamed, layers, calibration, partial, f"{method.name} {method.pattern}", progress):
        linears, pattern = targets[step.index][1], patterns[step.index]
        done = step.file.exists()
        if done and step.hidden is None:
            continue
        decisions = prune_layer(
            step.layer,
            linears,
            method,
            pattern,
            step.calls,
            step.hidden,
            streamed.device,
            last=step.last,
            statistics=dense.of(linears, streamed.device) if dense is not None and from_file else None,
            known=read_decisions(step.file, linears) if done else None,
        )
        if not done:
            write_decisions(step.file, step.layer, linears, decisions, pattern, streamed.dtype)
        step.note = f"{step.layer.name} sparsity {summarize_layer(step.file)['achieved_sparsity']:.4f}"
