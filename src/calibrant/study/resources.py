"""What a job asks of a scheduler: memory, minutes and GPUs, reckoned for a study that consists of that job alone.

Time is `study.estimate`'s, with its rates; memory follows the shape of the code: stages that run the whole model hold it,
stages that go through it layer by layer hold one layer and what flows between layers. Both are requests, so they err
upwards, and grow with every attempt: a job that ran out of either is submitted again with more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from calibrant.study.estimate import BYTES_A_PARAMETER, UnknownSizeError, assumptions, estimate
from calibrant.study.grid import Run, SetKey
from calibrant.study.plan import Work

UNKNOWN_PARAMETERS = 8e9  # of a model of which nothing is known before it is downloaded
BASE_MB = 2000  # Python, torch, transformers, lm-eval: 0.5 to 0.9 GB measured; a CUDA context takes about as much again
SLACK = 1.25  # on memory
TIME_SLACK = 2.0  # on the estimate, which is a mean
FIXED_MINUTES = 10  # a slow file system, a node that wakes up
VOCABULARY = 128_000  # entries at most, as far as an embedding's memory goes
WHOLE_MODEL = ("generate", "score", "evaluate")
BY_LAYER = ("dense statistics", "prune", "inspect")
MODEL_STAGES = (*WHOLE_MODEL, *BY_LAYER)
# Stages that compute on a CPU alone, in MB and minutes: they stream files, and tokenise 100 MB of text at most.
LIGHT = {"download": (8000, 120), "sample": (8000, 60), "similarity": (8000, 120), "overlap": (8000, 60),
         "filter": (4000, 15), "report": (8000, 60)}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a job asks for: `mem_mb` of the node's memory in MB, `runtime` in minutes, `gpu` a number of GPUs."""

    mem_mb: int
    runtime: int
    gpu: int


def gpus(config: Mapping[str, Any]) -> int:
    """GPUs that a job of a stage that runs the model asks for: `compute.gpus`, else 1 where the device is a GPU."""
    compute = config["compute"]
    return int(compute.get("gpus", 0 if compute["device"] in ("cpu", "auto") else 1))


def request(
    config: dict[str, Any], stage: str, *, samples: int = 0, attempt: int = 1, parameters: float | None = None
) -> Request:
    """The request of one job.

    Args:
        config: a resolved configuration.
        stage: of `MODEL_STAGES` or `LIGHT`.
        samples: sequences that the job works on; 0 where the configuration says how many.
        attempt: 1 for the first submission; memory and time are multiplied by it.
        parameters: of the model, where the estimate's table does not have it; UNKNOWN_PARAMETERS when neither is known.

    Raises:
        KeyError: an unknown stage.
    """
    if stage not in MODEL_STAGES:
        memory, minutes = LIGHT[stage]
        return Request(memory * attempt, minutes * attempt, 0)
    size = model_size(config, parameters)
    hours = _hours(config, stage, samples, size)
    minutes = math.ceil(FIXED_MINUTES + TIME_SLACK * hours * 60)
    return Request(math.ceil(_memory(config, stage, samples, size)) * attempt, minutes * attempt, gpus(config))


def model_size(config: dict[str, Any], parameters: float | None = None) -> float:
    """Parameters of the model: the estimate's, else those given, else UNKNOWN_PARAMETERS."""
    try:
        return assumptions(_work(config))[1]["parameters"].value
    except UnknownSizeError:
        return parameters or UNKNOWN_PARAMETERS


@cache
def parameters_of_folder(folder: str | Path) -> float | None:
    """Parameters of a model on disk, by the size of its weights at two bytes each; None when none are there."""
    weights = [*Path(folder).glob("*.safetensors")]
    return sum(file.stat().st_size for file in weights) / 2 or None


def _hours(config: dict[str, Any], stage: str, samples: int, parameters: float) -> float:
    """The stage's hours in the estimate of a study of this one job."""
    source = next(iter(config["sources"]))
    key = SetKey(source, "real", samples or config["calibration"]["samples"], 0)
    pool = SetKey(source, "synthetic", 1, 0, 0, 0.0)
    machine = "gpu" if gpus(config) else None
    if stage == "generate":
        work = _work(config, sets=(pool,))
    elif stage == "score":
        work = _work(config, sets=(key,), scored=frozenset({key.name if samples else pool.pool}))
    elif stage == "evaluate":
        work = _work(config, runs=(Run("dense", "0", None),))
    elif stage == "prune":
        work = _work(config, runs=(Run("wanda", "0.5", key),), sets=(key,))
    else:  # a forward pass over sets; `inspect` makes one over each of two
        work, stage = _work(config, runs=(Run("owl", "0.5", key),), sets=(key,)), "dense statistics"
    return estimate(work, machine, {"parameters": parameters}).hours[stage]


def _work(config: dict[str, Any], **parts: Any) -> Work:
    nothing = {"runs": (), "sets": (), "scored": frozenset(), "references": 0, "inspected": 0, "reports": 0}
    return Work(config, **{**nothing, **parts})


def _memory(config: dict[str, Any], stage: str, samples: int, parameters: float) -> float:
    """MB of a job: in Llama's proportions, layers = width / 128 and 12.1 weights a layer for each of width squared."""
    size = BYTES_A_PARAMETER[config["compute"]["dtype"]]
    width = (parameters * 128 / 12.1) ** (1 / 3)
    length = config["calibration"]["length"]
    embeddings = min(2 * VOCABULARY * width, parameters) * size
    if stage in WHOLE_MODEL:
        batch = config["generation"]["batch_size"] if stage == "generate" else 1
        cache_bytes = batch * length * 2 * width * max(1, width / 128) * size
        needed = parameters * size + cache_bytes + 4 * max(length, 2048) * VOCABULARY
    else:
        sequences = samples or config["calibration"]["samples"]
        flowing = 2 * sequences * length * width * size  # a layer's inputs and outputs
        layer = parameters / max(1, width / 128) * (size + 12)  # its weights, and scores and copies in float32
        hessians = 3 * 4 * (2.7 * width) ** 2
        needed = embeddings + layer + flowing + hessians
    return BASE_MB + SLACK * needed / 1e6
