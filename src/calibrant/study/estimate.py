"""Hours, memory and storage of a plan, from the cost model and a table of assumptions that anybody may replace."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.study.cost import Needs
from calibrant.study.grid import full_rows
from calibrant.study.machines import Assumption, Machine, check_change
from calibrant.study.shapes import Shape, known_shape, shape_of_size
from calibrant.study.stage_needs import bytes_a_number, stage_needs
from calibrant.study.storage import storage
from calibrant.study.work import Work


@dataclass(frozen=True)
class StageEstimate:
    """Jobs of a stage; hours of all of them, in hours of one device; what its most demanding job needs."""

    jobs: int
    hours: float
    devices: int
    peak: Needs


@dataclass(frozen=True)
class Estimate:
    """Hours of one machine in a number format by stage, storage in bytes by kind, and all that was assumed."""

    machine: Machine
    dtype: str
    stages: dict[str, StageEstimate]
    storage: dict[str, float]
    assumptions: dict[str, Assumption]

    @property
    def hours(self) -> dict[str, float]:
        """Hours of all jobs of each stage."""
        return {name: stage.hours for name, stage in self.stages.items()}


def work_shape(work: Work, parameters: float | None = None) -> tuple[Shape, Assumption]:
    """The shape of the model of a plan, and its number of parameters as an assumption.

    Args:
        work: what is planned.
        parameters: their number, for Llama's proportions in place of the model's own.

    Raises:
        InputError: `parameters` is not above 0.
        UnknownSizeError: the model's shape is not known, and `parameters` is not given.
    """
    if parameters is None:
        shape, origin = known_shape(work.config["model"]), "its configuration"
    else:
        check_change("parameters", parameters)
        shape, origin = shape_of_size(parameters), "given; the shape that Llama would have"
    return shape, Assumption(float(shape.parameters), "of the model", origin)


def estimate(work: Work, machine: Machine, changes: Mapping[str, float] | None = None) -> Estimate:
    """Hours of one machine that does one job after the other, and what the results take on disk.

    A job that needs several devices is taken to be that much faster, so that device-hours stay the same.

    Args:
        work: what is planned; where its number format is `auto`, it is the machine's.
        machine: which does it.
        changes: rates in place of the machine's, or `parameters`, in place of the model's shape.

    Raises:
        InputError: an unknown name, or a value that is not above 0.
        UnknownSizeError: the model's shape is not known, and `parameters` is not among the changes.
    """
    changes = dict(changes or {})
    shape, size = work_shape(work, changes.pop("parameters", None))
    machine = machine.changed(changes)
    rates, config = machine.rates, with_number_format(work.config, machine.dtype)
    stages = {}
    for stage, jobs in stage_jobs(work).items():
        found = [
            (stage_needs(stage, config, shape, rates, samples=samples, method=method), count)
            for (samples, method), count in jobs.items()
        ]
        peak = max((needs for needs, _ in found), key=lambda needs: (needs.device, needs.host))
        hours = sum(needs.seconds * count for needs, count in found) / 3600
        stages[stage] = StageEstimate(sum(jobs.values()), hours, peak.devices(rates.memory), peak)
    assumptions = {"parameters": size, **machine.assumptions}
    kept = storage(work, shape, bytes_a_number(config, rates))
    return Estimate(machine, config["compute"]["dtype"], stages, kept, assumptions)


def with_number_format(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """A configuration in which `auto` is resolved to a number format."""
    compute = config["compute"]
    return {**config, "compute": {**compute, "dtype": dtype if compute["dtype"] == "auto" else compute["dtype"]}}


def stage_jobs(work: Work) -> dict[str, Counter[tuple[int, str]]]:
    """How many jobs of each stage have so many samples and such a method."""
    generated = full_rows(work.config)
    real = {key.name: key.samples for key in work.sets if key.origin == "real"}
    found = {
        "generate": Counter({(generated, ""): len(work.pools)}),
        "score": Counter((real.get(name, generated), "") for name in work.scored),
        "dense statistics": Counter((key.samples, "") for key in work.dense_statistics),
        "prune": Counter((r.calibration.samples if r.calibration else 0, r.method) for r in work.masks),
        "evaluate": Counter({(0, ""): len(work.runs)}),
    }
    return {stage: +jobs for stage, jobs in found.items() if +jobs}
