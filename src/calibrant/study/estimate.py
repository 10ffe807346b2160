"""Hours and storage of a plan, from a table of assumptions that anybody may replace by measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.study.merge import read_yaml
from calibrant.study.plan import Work

ASSUMPTIONS = Path(__file__).with_name("assumptions.yaml")
MACHINES = ("gpu", "cpu")
RATES = ("forward", "generate", "choose", "start", "passes", "parameters")  # what --set may change
LAPTOP_PARAMETERS = 1e9  # up to here a processor is assumed, beyond it a GPU
BYTES_A_PARAMETER = {"auto": 2, "bfloat16": 2, "float16": 2, "float32": 4}
BYTES_A_TOKEN = 8  # of generated text and sets, ids and text, as Parquet compresses them: measured on SmolLM2's


class UnknownSizeError(InputError):
    """Nothing can be reckoned for a model of unknown size."""


@dataclass(frozen=True)
class Assumption:
    """A number, its unit and where it is from."""

    value: float
    unit: str
    origin: str


@dataclass(frozen=True)
class Estimate:
    """Hours of one machine by stage, storage in bytes by kind, and all that was assumed."""

    machine: str
    hours: dict[str, float]
    storage: dict[str, float]
    assumptions: dict[str, Assumption]


def assumptions(
    work: Work, machine: str | None = None, changes: Mapping[str, float] | None = None
) -> tuple[str, dict[str, Assumption]]:
    """The machine and its rates for the model of a study, `changes` in place of the table's values.

    Raises:
        InputError: an unknown name or a value that is not above 0.
        UnknownSizeError: the number of parameters is not in the table and not among the changes.
    """
    table = read_yaml(ASSUMPTIONS)
    given = {name: Assumption(value, "", "given") for name, value in (changes or {}).items()}
    for name, item in given.items():
        if name not in RATES or item.value <= 0:
            raise InputError(f"--set {name}={item.value:g}: must be a number above 0 for one of {', '.join(RATES)}")
    model = work.config["model"]
    names = [str(model[key]) for key in ("id", "hub") if key in model]
    known = next((table["parameters"][name] for name in names if name in table["parameters"]), None)
    if "parameters" in given:
        parameters = given["parameters"]
    elif known is not None:
        parameters = _assumption(known, "parameters")
    else:
        raise UnknownSizeError(
            f"the number of parameters of {' or '.join(names) or model['path']} is not known; give --set parameters=7e9"
        )
    machine = machine or ("cpu" if parameters.value <= LAPTOP_PARAMETERS else "gpu")
    rates = {name: _assumption(entry) for name, entry in table["machines"][machine].items()}
    return machine, {"parameters": parameters, **rates, "passes": _assumption(table["passes"]), **given}


def estimate(work: Work, machine: str | None = None, changes: Mapping[str, float] | None = None) -> Estimate:
    """Hours of one machine that does one job after the other, and what the results take on disk.

    Raises:
        InputError: as `assumptions`.
    """
    machine, rates = assumptions(work, machine, changes)
    billions = rates["parameters"].value / 1e9
    length = work.config["calibration"]["length"]
    pool = work.config["generation"]["samples"] * length
    calibrated = [run.calibration for run in work.masks if run.calibration]
    evaluated = tokens_of_evaluation(work.config)
    forward = {
        "score": sum(_scored_tokens(work, length, pool)),
        "dense statistics": sum(key.samples for key in work.dense_statistics) * length,
        "prune": rates["passes"].value * sum(key.samples for key in calibrated) * length,
        "evaluate": len(work.runs) * evaluated,
    }
    jobs = {
        "score": len(work.scored),
        "dense statistics": len(work.dense_statistics),
        "prune": len(work.masks),
        "evaluate": len(work.runs),
        "generate": len(work.pools),
    }
    seconds = {name: tokens * billions / rates["forward"].value for name, tokens in forward.items()}
    seconds["generate"] = len(work.pools) * pool * billions / rates["generate"].value
    seconds["prune"] += len(work.masks) * rates["choose"].value * billions
    hours = {name: (seconds[name] + jobs[name] * rates["start"].value) / 3600 for name in jobs if jobs[name]}
    storage = {
        "model": rates["parameters"].value * BYTES_A_PARAMETER[work.config["compute"]["dtype"]],
        "masks": len(work.masks) * rates["parameters"].value / 8,
        "generated text and sets": (len(work.pools) * pool + sum(key.samples for key in work.sets) * length)
        * BYTES_A_TOKEN,
    }
    return Estimate(machine, hours, storage, rates)


def tokens_of_evaluation(config: Mapping[str, Any]) -> float:
    """Tokens of one evaluation: its tasks, cut by `limit`, and its texts, cut by `text_tokens`."""
    table = {name: _assumption(entry) for name, entry in read_yaml(ASSUMPTIONS)["tokens"].items()}
    chosen = config["evaluation"]
    item = table["item"].value
    total = 0.0
    for name, spec in config["tasks"].items():
        whole = table[name].value if name in table else item * spec.get("items", 1000)
        subjects = 57 if name.startswith("mmlu") else 1  # a limit is for each of them
        total += min(whole, chosen["limit"] * subjects * item) if chosen["limit"] else whole
    return total + len(config["texts"]) * (chosen["text_tokens"] or table["text"].value)


def _scored_tokens(work: Work, length: int, pool: int) -> Sequence[int]:
    samples = {key.name: key.samples for key in work.sets if key.origin == "real"}
    return [samples[name] * length if name in samples else pool for name in sorted(work.scored)]


def _assumption(entry: Mapping[str, Any], unit: str = "tokens") -> Assumption:
    return Assumption(float(entry["value"]), str(entry.get("unit", unit)), str(entry["origin"]))
