"""Hours, memory and storage of a plan, from the cost model and a table of assumptions that anybody may replace."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from calibrant.study.cost import Needs, Rates
from calibrant.study.grid import full_rows
from calibrant.study.machines import Assumption, default_machine, machine_assumptions
from calibrant.study.plan import Work
from calibrant.study.shapes import Shape, known_shape, shape_of_size
from calibrant.study.stage_needs import BYTES_A_NUMBER, stage_needs

BYTES_A_TOKEN = 8  # of generated text and sets, ids and text, as Parquet compresses them: measured on SmolLM2's


@dataclass(frozen=True)
class StageEstimate:
    """Jobs of a stage; hours of all of them, in hours of one device; what its most demanding job needs."""

    jobs: int
    hours: float
    devices: int
    peak: Needs


@dataclass(frozen=True)
class Estimate:
    """Hours of one machine by stage, storage in bytes by kind, and all that was assumed."""

    machine: str
    stages: dict[str, StageEstimate]
    storage: dict[str, float]
    assumptions: dict[str, Assumption]

    @property
    def hours(self) -> dict[str, float]:
        """Hours of all jobs of each stage."""
        return {name: stage.hours for name, stage in self.stages.items()}


def estimate(work: Work, machine: str | None = None, changes: Mapping[str, float] | None = None) -> Estimate:
    """Hours of one machine that does one job after the other, and what the results take on disk.

    A job that needs several devices is taken to be that much faster, so that device-hours stay the same.

    Args:
        work: what is planned.
        machine: of the table; by default by the model's size.
        changes: rates in place of the table's, or `parameters`, in place of the model's shape.

    Raises:
        InputError: an unknown machine or name, or a value that is not above 0.
        UnknownSizeError: the model's shape is not known, and `parameters` is not among the changes.
    """
    changes = dict(changes or {})
    size = changes.pop("parameters", None)
    if size is None:
        shape = known_shape(work.config["model"])
        origin = "its configuration"
    else:
        machine_assumptions("cpu", {"start": size})  # the same refusal of what is not above 0
        shape, origin = shape_of_size(size), "given; the shape that Llama would have"
    machine = machine or default_machine(shape)
    chosen = machine_assumptions(machine, changes)
    rates = Rates(**{name: item.value for name, item in chosen.items()})
    stages = {}
    for stage, jobs in stage_jobs(work).items():
        found = [
            (stage_needs(stage, work.config, shape, rates, samples=samples, method=method), count)
            for (samples, method), count in jobs.items()
        ]
        peak = max((needs for needs, _ in found), key=lambda needs: (needs.device, needs.host))
        hours = sum(needs.seconds * count for needs, count in found) / 3600
        stages[stage] = StageEstimate(sum(jobs.values()), hours, peak.devices(rates.memory), peak)
    shown = {"parameters": Assumption(float(shape.parameters), "of the model", origin)}
    return Estimate(machine, stages, storage(work, shape), {**shown, **chosen})


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


def storage(work: Work, shape: Shape) -> dict[str, float]:
    """Bytes of what is kept: masks take a bit a weight."""
    length = work.config["calibration"]["length"]
    rows = len(work.pools) * full_rows(work.config) + sum(key.samples for key in work.sets)
    return {
        "model": shape.parameters * BYTES_A_NUMBER[work.config["compute"]["dtype"]],
        "masks": len(work.masks) * shape.linear_weights / 8,
        "generated text and sets": rows * length * BYTES_A_TOKEN,
    }
