"""Stage plan: count a study's work, and reckon its hours, before anything runs."""

import functools
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrant.errors import InputError
from calibrant.settings.stage_settings import PlanSettings
from calibrant.stages.stage import Input, Stage
from calibrant.stages.study_check import absent, check_first_rows, check_study, specs

if TYPE_CHECKING:
    import torch

    from calibrant.study.estimate import Estimate
    from calibrant.study.machines import Machine
    from calibrant.study.shapes import Shape

LONGEST = 2048  # tokens of a sequence in what is measured


FILES = (Input("study", "the study's YAML file (config.yaml), or the name of a preset", "", required=False),)


def plan(study: str | Path | None = None, settings: PlanSettings = PlanSettings()) -> str:  # noqa: B008 - frozen
    """Count a study's work, and reckon its hours and storage; returns the text that the command prints.

    Raises:
        InputError: a study, target, machine or rate that is not known.
    """
    return "\n".join(plan_lines(study, settings))


def plan_lines(study: str | Path | None, settings: PlanSettings) -> Iterator[str]:
    """The lines of `plan`, each as soon as it is known: measuring this computer takes seconds."""
    from calibrant.study.estimate import estimate, work_shape
    from calibrant.study.machines import HERE, check_change, machine, machine_names, machines
    from calibrant.study.shapes import UnknownSizeError
    from calibrant.study.work import counts, jobs, work

    if settings.machine not in (None, HERE, *machines()):
        raise InputError(f"--machine {settings.machine}: must be one of {machine_names()}")
    changes = {name: rate(name, text) for name, text in settings.set.items()}
    for name, value in changes.items():
        check_change(name, value)
    targets = chosen_targets(settings.target)
    configs = study_configs(str("config.yaml" if study is None else study), targets, settings.config)
    planned = work(configs)
    first = configs[0]
    what = f"targets {', '.join(targets)}" if targets else f"experiment {first['experiment']}"
    yield f"study {first['study']}: preset {first['preset']}, compat {first['compat']}, {what}"
    yield from table({name: f"{count:,}" for name, count in counts(planned).items()})
    yield "jobs by stage"
    yield from table({name: f"{count:,}" for name, count in jobs(planned).items()})
    if "choose" in first and not targets:
        yield from race_lines(first)
    if missing := absent(first):
        yield "named by the configuration, but not on this machine"
        yield from table(missing)
    if settings.counts:
        return
    try:
        shape, _ = work_shape(planned, changes.get("parameters"))
        name = settings.machine or machine_by_default(first, shape)
        yield from shown(
            estimate(
                planned,
                measured(first, hint=" (--machine takes another's rates)") if name == HERE else machine(name),
                changes,
            )
        )
    except UnknownSizeError as error:  # the counts are worth having all the same
        yield f"no estimate of hours and storage: {error}"


def race_lines(config: Mapping[str, Any]) -> Iterator[str]:
    """Who races in a study, and how much is compressed and evaluated for it at most."""
    from calibrant.choice.entries import baseline, entries

    chosen, candidates = config["choose"], len(entries(config))
    yield f"its race, on top of that: {chosen['method']} at {chosen['target']}, beside {baseline(config).method}"
    yield from table({"candidates": f"{candidates:,}", "sets at most": f"{chosen['budget'][-1]:,}"})


def chosen_targets(asked: Sequence[str]) -> list[str]:
    """The targets that were asked for, each once; `paper` stands for all of them."""
    from calibrant.study.targets import PAPER, target_files

    every = [*target_files(), PAPER]
    return list(dict.fromkeys(target for name in asked for target in (every if name == PAPER else [name])))


def study_configs(study: str, targets: Sequence[str], given: Mapping[str, str]) -> list[dict[str, Any]]:
    """The resolved configuration of a study, or one for each target; `study` is a file or the name of a preset.

    Raises:
        InputError: neither is there, or the configuration is not valid.
    """
    from calibrant.study.config_layers import preset_names
    from calibrant.study.study_file import load_config, load_preset
    from calibrant.study.validation import suggest

    changes = {name: yaml_value(name, text) for name, text in given.items()}
    if not study:
        raise InputError("study: is empty; give a YAML file or the name of a preset")
    by_name = study in preset_names() and not Path(study).is_file()
    if not by_name and re.fullmatch(r"[\w-]{,64}", study) and not Path(study).exists():
        known = preset_names()
        raise InputError(f"{study}: no such file, and no preset{suggest(study, known)}; presets are {', '.join(known)}")
    read = functools.partial(load_preset if by_name else load_config, study, changes=changes)
    configs = [read(target=target) for target in targets] or [read()]
    for config in configs:
        check_study(config, study)
    check_first_rows(specs(configs[0]), study)
    return configs


def machine_by_default(config: dict[str, Any], shape: "Shape") -> str:
    """This computer for a small model that will run on its processor, a GPU of the table for every other."""
    from calibrant.study.machines import HERE, default_machine
    from calibrant.study.resources import gpus

    if default_machine(shape) != HERE or gpus(config):
        return "gpu"
    from calibrant.models.compute.devices import choose_device, on_gpu

    return "gpu" if config["compute"]["device"] == "auto" and on_gpu(choose_device()) else HERE


def measured(config: dict[str, Any], root: Path = Path(), hint: str = "") -> "Machine":
    """This computer, measured in the number format and with the threads of a study whose files lie below `root`."""
    from calibrant.models.rates import machine_here

    dtype = number_format(config, root)
    print(f"measuring this computer for two seconds{hint}", file=sys.stderr, flush=True)
    return machine_here(dtype, config["compute"]["threads"], min(LONGEST, config["calibration"]["length"]))


def number_format(config: dict[str, Any], root: Path = Path()) -> "torch.dtype":
    """The format that a study computes in on this computer's processor: what it says, or what `auto` is there.

    `auto` is what the study resolved it to if it has begun, else it follows from the checkpoint where that is here; a
    checkpoint that is not is taken to be in bfloat16.
    """
    import torch

    from calibrant.models.checkpoint.checkpoint_files import read_raw_config
    from calibrant.models.checkpoint.resolution import read_resolved
    from calibrant.models.compute.number_formats import DTYPES, choose_number_format
    from calibrant.study.paths import StudyPaths
    from calibrant.study.shapes import text_part

    paths, name = StudyPaths(config["study"]), str(config["compute"]["dtype"])
    folder = Path(config["model"].get("path", root / paths.data / "model"))
    checkpoint: torch.dtype | None = torch.bfloat16
    if name == "auto" and (root / paths.number_format()).is_file():
        name = str(read_resolved(root / paths.number_format())["dtype"])
    elif (folder / "config.json").is_file():
        raw = read_raw_config(folder)
        named = (part.get(key) for part in (raw, text_part(raw)) for key in ("dtype", "torch_dtype"))
        checkpoint = DTYPES.get(str(next((name for name in named if name is not None), None)))
    chosen = choose_number_format(name, checkpoint, torch.device("cpu"))
    chosen.say()
    return chosen.dtype


def shown(found: "Estimate") -> Iterator[str]:
    """An estimate with all that it rests on, in lines."""
    what = f"{found.machine.label} in {found.dtype}"
    yield f"hours of {what}, one job after the other, and memory of a job; an estimate"
    if found.dtype != found.machine.dtype:
        yield f"(its rates are those of {found.machine.dtype}, which the study does not compute in)"
    if found.stages:
        rows = [["", "jobs", "s a job", "hours", "GB on device", "devices", "GB on host"]]
        for name, stage in found.stages.items():
            each, peak = stage.hours * 3600 / stage.jobs, stage.peak
            sizes = [f"{peak.device / 1e9:,.1f}", str(stage.devices), f"{peak.host / 1e9:,.1f}"]
            rows.append([name, f"{stage.jobs:,}", f"{each:,.0f}", hours(stage.hours), *sizes])
        total, at_once = sum(found.hours.values()), found.machine.at_once
        rows.append(["in all", f"{sum(s.jobs for s in found.stages.values()):,}", "", hours(total)])
        if at_once > 1:
            rows.append([f"{at_once} jobs at a time", "", "", hours(total / at_once)])
        for row in rows:
            yield "  " + f"{row[0]:<18}" + "".join(f"{cell:>14}" for cell in row[1:])
    yield "storage, GB"
    storage = {**found.storage, "in all": sum(found.storage.values())}
    yield from table({name: f"{size / 1e9:,.1f}" for name, size in storage.items()})
    yield "reckoned with (--set NAME=VALUE changes them; tokens of tasks: study/assumptions.yaml)"
    yield from table(
        {name: f"{a.value:,.4g}" for name, a in found.assumptions.items()},
        {name: f"{a.unit} ({a.origin})".strip() for name, a in found.assumptions.items()},
    )


def hours(value: float) -> str:
    """`0.12`, `1,083.2`: small studies take minutes."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def table(values: Mapping[str, str], notes: Mapping[str, str] | None = None) -> Iterator[str]:
    """Names and right-aligned values, a line each."""
    width, room = max(map(len, values)), max(12, *map(len, values.values()))
    for name, value in values.items():
        yield f"  {name:<{width}}  {value:>{room}}  {(notes or {}).get(name, '')}".rstrip()


def rate(name: str, text: str) -> float:
    """Read a rate of the estimate.

    Raises:
        InputError: it is no number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"--set {name}={text}: must be NAME=NUMBER, such as products=9e13")
    return value


def yaml_value(name: str, text: str) -> Any:
    """Read a value of the configuration as YAML.

    Raises:
        InputError: it is none.
    """
    from calibrant.study.strict_yaml import parse

    return parse(text, f"--config {name}={text if len(text) < 80 else text[:60] + '…'}")


STAGE = Stage(plan_lines, FILES, PlanSettings, said=lambda lines: lines)
