"""What a job asks of a scheduler: memory, minutes and GPUs, by the cost model that `calibrant plan` adds up.

Both are requests, so they err upwards, and grow with every attempt: a job that ran out of either is submitted again
with more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json
from calibrant.errors import InputError
from calibrant.study.machines import HERE, SLOWEST, default_machine, machine
from calibrant.study.shapes import Shape, UnknownSizeError, known_shape, shape_of_config, shape_of_size
from calibrant.study.stage_needs import LAYERWISE, STAGES, bytes_a_number, stage_needs

UNKNOWN_PARAMETERS = 8e9  # of a model of which nothing is known before it is downloaded
BASE_MB = 1000  # libraries that only some stages load (lm-eval, datasets), file buffers
SLACK = 1.25  # on the model's memory
TIME_SLACK = 2.0  # on the model's time
FIXED_MINUTES = 10  # a slow file system, a node that wakes up
# Stages that compute on a CPU alone, in MB and minutes: they stream files, and tokenise 100 MB of text at most.
LIGHT = {"sample": (8000, 60), "similarity": (8000, 120), "overlap": (8000, 60), "report": (8000, 60)}


@dataclass(frozen=True)
class Request:
    """What a job asks for: `mem_mb` of the node's memory in MB, `runtime` in minutes, `gpu` a number of GPUs."""

    mem_mb: int
    runtime: int
    gpu: int


def gpus(config: Mapping[str, Any]) -> int:
    """GPUs that a job of a stage that runs the model asks for: `compute.gpus`, else 1 where the device is a GPU."""
    compute = config["compute"]
    return int(compute.get("gpus", 0 if compute["device"] in ("cpu", "auto", "mps") else 1))


def request(
    config: Mapping[str, Any],
    shape: Shape,
    stage: str,
    *,
    samples: int | None = None,
    method: str = "wanda",
    attempt: int = 1,
) -> Request:
    """The request of one job.

    Args:
        config: a resolved configuration.
        shape: of the model.
        stage: one of `stage_needs.STAGES` or of `LIGHT`.
        samples: sequences that the job works on; by default as many as the configuration says.
        method: of `prune`.
        attempt: 1 for the first submission; memory and time are multiplied by it.

    Raises:
        InputError: an unknown stage.
    """
    if stage in LIGHT:
        memory, minutes = LIGHT[stage]
        return Request(memory * attempt, minutes * attempt, 0)
    if stage not in STAGES:
        raise InputError(f"stage {stage}: nothing is known of it; allowed: {', '.join((*STAGES, *LIGHT))}")
    name = default_machine(shape) if gpus(config) else HERE
    rates = machine(SLOWEST if name == HERE else name).rates  # which node it will be is not known
    needs = stage_needs(stage, config, shape, rates, samples=samples, method=method)
    # Weights pass through the host on their way to a GPU, all of them where a stage holds the whole model.
    passing = 0 if stage in LAYERWISE or rates.memory <= 0 else shape.parameters * bytes_a_number(config, rates)
    memory = math.ceil(BASE_MB + SLACK * (needs.host + passing) / 1e6)
    minutes = math.ceil(FIXED_MINUTES + TIME_SLACK * needs.seconds / 60)
    return Request(memory * attempt, minutes * attempt, gpus(config))


@cache
def shape_on_disk(folder: str) -> Shape | None:
    """The shape of the model in a folder, where there is one."""
    file = Path(folder) / "config.json"
    return shape_of_config(read_json(file)) if file.is_file() else None


def shape_for_requests(model: Mapping[str, Any], folder: str) -> Shape:
    """The shape of a configuration's `model`: known by its name, or from `folder` once it is downloaded there.

    Else one of UNKNOWN_PARAMETERS: a request has to be made, and a second attempt asks for more.
    """
    try:
        return known_shape(model)
    except UnknownSizeError:
        return shape_on_disk(folder) or shape_of_size(UNKNOWN_PARAMETERS)
