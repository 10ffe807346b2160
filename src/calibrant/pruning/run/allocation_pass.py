"""What an allocation sees in each layer of the dense model: from statistics at hand, or from a pass of its own."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from tqdm import tqdm

from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import DecoderLayer, Linear
from calibrant.pruning.methods.composition import Method
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.run.activations import Activations
from calibrant.pruning.run.layer_pruning import Calibration
from calibrant.pruning.run.partial import Partial
from calibrant.pruning.run.statistics_collection import collect
from calibrant.pruning.run.statistics_file import DenseStatistics
from calibrant.pruning.run.weight_decisions import reached
from calibrant.settings.sparsity import Pattern

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
        found = partial.observations(len(targets))
        if found is None:
            collected = _collected(streamed, targets, method, calibration, dense, activations)
            seen = _observe(streamed, targets, method, collected)
            title = f"{method.name}: {'dense pass' if dense is None else 'allocation from statistics'}"
            found = list(tqdm(seen, title, total=len(targets), disable=not progress, file=sys.stderr))
            partial.save_observations(found)
        observations = found
    sizes = [sum(linear.weight.numel() for linear in linears.values()) for _, linears in targets]
    return method.allocation.allocate(method.pattern, observations, sizes, method.settings)


def _collected(
    streamed: StreamedModel,
    targets: Targets,
    method: Method,
    calibration: Calibration | None,
    dense: DenseStatistics | None,
    activations: Activations,
) -> Callable[[int], Mapping[str, Statistics]]:
    """The dense model's statistics of a loaded decoder layer, by its index, asked for in order."""
    if dense is not None:
        return lambda index: dense.of(targets[index][1], streamed.device)
    assert calibration is not None
    calls = calibration.calls
    hidden = activations.copy(calibration.hidden)  # the pruning itself still needs the inputs

    def in_one_pass(index: int) -> Mapping[str, Statistics]:
        layer, linears = targets[index]
        move_on = index < len(targets) - 1
        return collect(layer, linears, calls[index], hidden, method.allocation.needs, streamed.device, move_on=move_on)

    return in_one_pass


def _observe(
    streamed: StreamedModel, targets: Targets, method: Method, collected: Callable[[int], Mapping[str, Statistics]]
) -> Iterator[float]:
    assert method.allocation.observe is not None
    for index, (layer, linears) in enumerate(targets):
        streamed.load(layer.name + ".")
        statistics = collected(index)
        seen = {
            name: (linear.weight, statistics[name])
            for name, linear in linears.items()
            if reached(linear, statistics[name], method)
        }
        yield method.allocation.observe(seen, method.settings)
        streamed.release(layer.name + ".")
