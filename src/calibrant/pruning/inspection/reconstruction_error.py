"""How far a pruned model's layers are from the dense ones, on text they were calibrated on and on other text."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.structure.decoder_layers import find_decoder_layers
from calibrant.models.structure.layer_calls import LayerCall
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.masked_model import apply_to_weights, check_model, find_weights
from calibrant.pruning.run.layer_pruning import calibrate
from calibrant.pruning.run.run_inputs import open_model


def reconstruction_errors(
    model: str | Path | Checkpoint,
    masks: str | Path,
    sets: Mapping[str, Tensor],
    *,
    dtype: str = "auto",
    device: str = "auto",
) -> dict[str, list[float]]:
    """Relative error of every decoder layer, for each set of sequences: `relative_errors` of `squared_norms`."""
    squares = squared_norms(model, masks, sets, dtype=dtype, device=device)
    return {label: relative_errors(of_set.sum(1)).tolist() for label, of_set in squares.items()}


def relative_errors(squares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """|f'(x) - f(x)| / |f(x) - x| from the squares of both norms [..., 2]; 0 where the layer does nothing."""
    difference, change = squares[..., 0], squares[..., 1]
    return np.sqrt(np.divide(difference, change, out=np.zeros_like(change), where=change > 0))


def squared_norms(
    model: str | Path | Checkpoint,
    masks: str | Path,
    sets: Mapping[str, Tensor],
    *,
    dtype: str = "auto",
    device: str = "auto",
) -> dict[str, npt.NDArray[np.float64]]:
    """What pruning changes in every decoder layer's output, and what the layer itself does.

    A layer's error is |f'(x) - f(x)| / |f(x) - x| (Frobenius norms over sequences and tokens): f the dense layer,
    f' the pruned one, x what the pruned layers before it give. The input is taken off in the denominator because
    the residual stream would drown what the layer itself does. A set's error above that of the calibration set is
    overfitting to the calibration data (Shin et al. 2024).

    Args:
        model: a model directory, hub id or opened checkpoint; read one layer at a time.
        masks: its mask file, with updated weights beside it where the method made them.
        sets: label -> token ids int64 [sequences, tokens].
        dtype: number format of the computation.
        device: where it runs.

    Returns:
        label -> squares of both norms, numerator and denominator, float64 [layers, sequences, 2].

    Raises:
        InputError: the masks do not fit the model.
    """
    checkpoint = as_checkpoint(model)
    file = read_masks(masks)
    check_model(file, checkpoint)
    streamed = open_model(checkpoint, dtype, device)
    layers = find_decoder_layers(streamed.model, streamed.places)
    find_weights(streamed.model, file)  # before anything is computed
    inputs = {label: calibrate(streamed, layers, ids) for label, ids in sets.items()}
    squares = {label: np.zeros((len(layers), len(ids), 2)) for label, ids in sets.items()}
    for index, layer in enumerate(layers):
        streamed.load(layer.name + ".")
        dense = {
            label: [
                _run(layer.module, call, x, streamed.device) for call, x in zip(c.calls[index], c.hidden, strict=True)
            ]
            for label, c in inputs.items()
        }
        apply_to_weights(find_weights(streamed.model, file, layer.name + "."), file)
        for label, calibration in inputs.items():
            for row, (call, expected) in enumerate(zip(calibration.calls[index], dense[label], strict=True)):
                x = calibration.hidden[row]
                output = _run(layer.module, call, x, streamed.device)
                squares[label][index, row] = _squared(output, expected), _squared(expected, x)
                calibration.hidden[row] = output
        streamed.release(layer.name + ".")
    return squares


def _run(module: torch.nn.Module, call: LayerCall, x: Tensor, device: torch.device) -> Tensor:
    """The layer's output [tokens, width] on the CPU."""
    with torch.no_grad():
        return call.run(module, x[None].to(device))[0].cpu()


def _squared(a: Tensor, b: Tensor) -> float:
    # float32 holds the difference of two bfloat16 or float16 numbers well; the sum is what needs more.
    return float((a.float() - b.float()).square_().sum(dtype=torch.float64))
