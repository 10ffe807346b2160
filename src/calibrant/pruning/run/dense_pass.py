"""One pass over the dense model: the statistics of each decoder layer, written when they are known."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear
from calibrant.pruning.methods.input_statistics import Kind, Statistics
from calibrant.pruning.run.activations import ActivationPlace, Activations
from calibrant.pruning.run.layer_pruning import calibrate
from calibrant.pruning.run.layer_steps import walk
from calibrant.pruning.run.partial import Partial
from calibrant.pruning.run.statistics_collection import collect, propagate


def dense_pass(
    streamed: StreamedModel,
    layers: list[DecoderLayer],
    ids: Tensor,
    kinds: Collection[Kind],
    linears_of: Callable[[DecoderLayer], Mapping[str, Linear]],
    write: Callable[[Path, Mapping[str, Linear], Mapping[str, Statistics]], None],
    is_whole: Callable[[Path], bool],
    partial: Partial,
    activations: ActivationPlace,
    title: str,
    progress: bool,
) -> None:
    """Collect statistics layer by layer; what an interrupted run wrote is only run forward.

    Args:
        streamed: the model.
        layers: its decoder layers.
        ids: of the calibration set, int64 [sequences, tokens].
        kinds: of statistics.
        linears_of: the linears of a loaded layer whose inputs are looked at.
        write: (file, linears, their statistics) -> one layer's results in that file.
        is_whole: whether such a file is as it was written.
        partial: the unfinished run, which is open.
        activations: `memory`, `disk` or `auto`.
        title: of the bar on stderr, which `progress` shows.
        progress: whether it is shown.
    """
    with torch.no_grad():
        held = calibrate(streamed, layers, ids, Activations(partial.folder, activations).empty)
        for step in walk(streamed, layers, held, partial, is_whole, title, progress):
            assert step.calls is not None
            assert step.hidden is not None
            if not step.done:
                linears, move_on = linears_of(step.layer), not step.last
                found = collect(step.layer, linears, step.calls, step.hidden, kinds, streamed.device, move_on=move_on)
                write(step.file, linears, found)
            elif not step.last:
                propagate(step.layer, step.calls, step.hidden, streamed.device)
