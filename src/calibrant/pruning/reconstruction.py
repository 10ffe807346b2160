"""How far a pruned model's layers are from the dense ones, on text they were calibrated on and on other text."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from calibrant.models.devices import choose_device, choose_dtype
from calibrant.models.load import load_config, resolve
from calibrant.models.streaming import StreamedModel
from calibrant.models.structure import find_decoder_layers
from calibrant.pruning.apply import apply_to_weights, check_model, find_weights
from calibrant.pruning.calls import LayerCall
from calibrant.pruning.engine import calibrate
from calibrant.pruning.masks import read_masks


def reconstruction_errors(
    model: str | Path,
    masks: str | Path,
    sets: Mapping[str, Tensor],
    *,
    dtype: str = "auto",
    device: str = "auto",
) -> dict[str, list[float]]:
    """Relative error of every decoder layer, for each set of sequences.

    A layer's error is |f'(x) - f(x)| / |f(x) - x| (Frobenius norms over all sequences and tokens): f the dense
    layer, f' the pruned one, x what the pruned layers before it give. The input is taken off in the
    denominator because the residual stream would drown what the layer itself does. A set's error above that
    of the calibration set is overfitting to the calibration data (Shin et al. 2024).

    Args:
        model: a model directory or hub id; read one layer at a time.
        masks: its mask file, with updated weights beside it where the method made them.
        sets: label -> token ids int64 [sequences, tokens].
        dtype: number format of the computation.
        device: where it runs.

    Returns:
        label -> one error for each decoder layer.

    Raises:
        InputError: the masks do not fit the model.
    """
    path = resolve(model)
    file = read_masks(masks)
    check_model(file, path)
    number_format = choose_dtype(dtype, getattr(load_config(path), "dtype", None))
    streamed = StreamedModel(path, number_format, choose_device(device))
    layers = find_decoder_layers(streamed.model)
    inputs = {label: calibrate(streamed, layers, ids) for label, ids in sets.items()}
    errors: dict[str, list[float]] = {label: [] for label in sets}
    for index, layer in enumerate(layers):
        streamed.load(layer.name + ".")
        dense = {
            label: [
                _run(layer.module, call, x, streamed.device) for call, x in zip(c.calls[index], c.hidden, strict=True)
            ]
            for label, c in inputs.items()
        }
        weights = {name: view for name, view in find_weights(streamed.model, file).items() if not view.is_meta}
        apply_to_weights(weights, file)
        for label, calibration in inputs.items():
            difference = change = 0.0
            for row, (call, expected) in enumerate(zip(calibration.calls[index], dense[label], strict=True)):
                x = calibration.hidden[row]
                output = _run(layer.module, call, x, streamed.device)
                difference += _squared(output, expected)
                change += _squared(expected, x)
                calibration.hidden[row] = output
            errors[label].append((difference / change) ** 0.5 if change else 0.0)
        streamed.release(layer.name + ".")
    return errors


def _run(module: torch.nn.Module, call: LayerCall, x: Tensor, device: torch.device) -> Tensor:
    """The layer's output [tokens, width] on the CPU."""
    with torch.no_grad():
        return call.run(module, x[None].to(device))[0].cpu()


def _squared(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).square().sum())
