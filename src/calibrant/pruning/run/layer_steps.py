"""Go through a streamed model one decoder layer at a time; an interrupted run goes on where it was."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import DecoderLayer
from calibrant.models.structure.layer_calls import LayerCall
from calibrant.pruning.run.layer_pruning import Calibration
from calibrant.pruning.run.partial import Partial


@dataclass
class Step:
    """A decoder layer that is loaded, with its inputs; whoever walks leaves the next layer's inputs in `hidden`.

    file: where the layer's results go.
    done: whether they are there already; then only `hidden` is to move on.
    calls, hidden: None when there is no calibration data.
    note: shown beside the progress bar once the step is done.
    """

    index: int
    layer: DecoderLayer
    file: Path
    done: bool
    last: bool
    calls: list[LayerCall] | None
    hidden: Tensor | None
    note: str = ""


def walk(
    streamed: StreamedModel,
    layers: Sequence[DecoderLayer],
    calibration: Calibration | None,
    partial: Partial,
    is_whole: Callable[[Path], bool],
    title: str,
    progress: bool,
) -> Iterator[Step]:
    """Load every layer in turn, from the last one whose inputs were saved on; drop it when its step is done.

    `is_whole` says of a layer's results whether they are as they were written; else they are made again.
    """
    done = [is_whole(partial.layer_file(index)) for index in range(len(layers))]
    hidden, start = None, 0
    if calibration:
        hidden = calibration.hidden
        start, saved = partial.resume_point(hidden.shape, done)
        if saved is not None:
            hidden.copy_(saved)
    bar = tqdm(total=len(layers), desc=title, initial=start, disable=not progress, file=sys.stderr)
    for index, layer in enumerate(layers):
        if index < start:
            continue
        streamed.load(layer.name + ".")
        if index + 1 < len(layers):
            streamed.prefetch(layers[index + 1].name + ".")
        if hidden is not None:
            partial.save_hidden(index, hidden)
        calls = calibration.calls[index] if calibration else None
        step = Step(index, layer, partial.layer_file(index), done[index], index == len(layers) - 1, calls, hidden)
        yield step
        streamed.release(layer.name + ".")
        bar.set_postfix_str(step.note)
        bar.update()
    bar.close()
