"""The tokens that reached each expert, of every calibration set of a study, as its masks record them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibrant.pruning.masks.expert_tokens import ExpertTokens, experts_of
from calibrant.pruning.masks.mask_record import mask_metadata
from calibrant.reporting.results.cells import Text
from calibrant.reporting.results.index import Run

Figures = Mapping[str, float]  # least and median tokens of an expert; unreached and too_few, per cent of the experts


@dataclass(frozen=True)
class SetExperts:
    """How one calibration set reaches the experts.

    method, target: of the masks that they were counted for.
    experts: how many there are in the whole model.
    whole: the figures of all of them.
    layers: by decoder layer.
    """

    text: Text
    method: str
    target: str
    experts: int
    whole: Figures
    layers: Mapping[str, Figures]


def read_expert_counts(runs: Sequence[Run]) -> list[SetExperts]:
    """One entry for each calibration set, from the first run with it whose masks have counts; none without experts.

    Raises:
        InputError: a mask file is missing, damaged, or none.
    """
    found: dict[tuple[Text, int | None], SetExperts] = {}
    for run in runs:
        if run.masks is None or run.source is None or run.origin is None:
            continue
        text = Text(run.source, run.origin, run.samples, run.prefix_length, run.drop)
        layers = [] if (text, run.seed) in found else mask_metadata(run.masks)["layers"]
        experts = experts_of(layers)
        if experts is not None:
            counted = {layer["name"]: experts_of([layer]) for layer in layers}
            by_layer = {name: _figures(of_layer) for name, of_layer in counted.items() if of_layer is not None}
            found[text, run.seed] = SetExperts(
                text, run.method, run.target, len(experts.tokens), _figures(experts), by_layer
            )
    return list(found.values())


def _figures(experts: ExpertTokens) -> Figures:
    return {
        "least": min(experts.tokens),
        "median": experts.median,
        "unreached": 100 * experts.unreached / len(experts.tokens),
        "too_few": 100 * experts.too_few,
    }
