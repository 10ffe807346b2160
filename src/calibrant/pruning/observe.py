"""What an allocation sees in each layer of the dense model: from statistics at hand, or from a pass of its own."""

import sys
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.models.streaming import StreamedModel
from calibrant.models.structure import DecoderLayer, Linear
from calibrant.pruning.activations import Activations
from calibrant.pruning.collect import collect
from calibrant.pruning.dense import DenseStatistics
from calibrant.pruning.engine import Calibration
from calibrant.pruning.methods import Method
from calibrant.pruning.partial import Partial
from calibrant.pruning.patterns import Pattern

Targets = Sequence[tuple[DecoderLayer, dict[str, Linear]]]


def allocate(
    streamed: StreamedModel,
    targets: Targets,
    method: Method,
    calibration: Calibration | None,
    dense: DenseStatistics | None,
    partial: Partial,
    activations: Activations,
    progress: bool,
) -> list[Pattern]:
    """One pattern for each layer; what was seen is kept in `partial` for a resumed run."""
    observations: list[float] = []
    if method.allocation.observe is not None:
        file = partial.allocation_file()
        if not file.exists():
            if dense is not None:
                seen = _from_statistics(streamed, targets, method, dense)
            else:
                assert calibration is not None
                seen = _in_one_pass(streamed, targets, method, calibration, activations)
            title = f"{method.name}: {'dense pass' if dense is None else 'allocation from statistics'}"
            write_json(file, list(tqdm(seen, title, total=len(targets), disable=not progress, file=sys.stderr)))
        observations = read_json(file)
    sizes = [sum(linear.weight.numel() for linear in linears.values()) for _, linears in targets]
    return method.allocation.allocate(method.pattern, observations, sizes, method.settings)


def _from_statistics(
    streamed: StreamedModel, targets: Targets, method: Method, dense: DenseStatistics
) -> Iterator[float]:
    assert method.allocation.observe is not None
    for layer, linears in targets:
        streamed.load(layer.name + ".")
        statistics = dense.of(linears, streamed.device)
        yield method.allocation.observe(
            {name: (linear.weight, statistics[name]) for name, linear in linears.items()}, method.settings
        )
        streamed.release(layer.name + ".")


def _in_one_pass(
    streamed: StreamedModel, targets: Targets, method: Method, calibration: Calibration, activations: Activations
) -> Iterator[float]:
    """A pass over a copy of the inputs, which the pruning itself still needs."""
    assert method.allocation.observe is not None
    hidden = activations.copy(calibration.hidden)
    for (layer, linears), calls in zip(targets, calibration.calls, strict=True):
        streamed.load(layer.name + ".")
        last = layer is targets[-1][0]
        statistics = collect(layer, linears, calls, hidden, method.allocation.needs, streamed.device, move_on=not last)
        yield method.allocation.observe(
            {name: (linear.weight, statistics[name]) for name, linear in linears.items()}, method.settings
        )
        streamed.release(layer.name + ".")
