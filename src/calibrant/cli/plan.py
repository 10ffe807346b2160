"""`calibrant plan`: count a study's work, and reckon its hours, before anything runs."""

import argparse
import functools
import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrant.errors import InputError
from calibrant.study.local import named_files

if TYPE_CHECKING:
    from calibrant.study.estimate import Estimate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument(
        "study", nargs="?", default="config.yaml", help="the study's YAML file (config.yaml), or the name of a preset"
    )
    parser.add_argument(
        "--config", action="append", default=[], metavar="KEY=VALUE", help="as Snakemake's: preset=dclm-7b; repeatable"
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        help="a table or figure, paper for all of them; may be repeated. Default: the study's own report",
    )
    parser.add_argument("--counts", action="store_true", help="no estimate of hours and storage")
    parser.add_argument("--machine", help="cpu, gpu (A100) or h100; default: by the number of the model's parameters")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a rate of the estimate; may be repeated"
    )


def run(options: argparse.Namespace) -> None:
    """Print one line a count."""
    from calibrant.study.config import load_config, preset_names
    from calibrant.study.estimate import estimate
    from calibrant.study.machines import machines
    from calibrant.study.plan import counts, jobs, work
    from calibrant.study.shapes import UnknownSizeError
    from calibrant.study.targets import PAPER, target_files
    from calibrant.study.validate import suggest

    if options.machine is not None and options.machine not in machines():
        raise InputError(f"--machine {options.machine}: must be one of {', '.join(machines())}")
    changes = dict(change(text) for text in options.set)
    every = [*target_files(), PAPER]
    targets = list(dict.fromkeys(t for name in options.target for t in (every if name == PAPER else [name])))
    changes_of_config = dict(setting(text) for text in options.config)
    study = options.study
    if study in preset_names() and not Path(study).is_file():
        study, changes_of_config = "config.yaml", {"preset": study, **changes_of_config}
    elif not Path(study).suffix and not Path(study).exists():
        known = preset_names()
        raise InputError(f"{study}: no such file, and no preset{suggest(study, known)}; presets are {', '.join(known)}")
    given = functools.partial(load_config, study, changes=changes_of_config)
    configs = [given(target=target) for target in targets] or [given()]
    planned = work(configs)
    first = configs[0]
    what = f"targets {', '.join(targets)}" if targets else f"experiment {first['experiment']}"
    print(f"study {first['study']}: preset {first['preset']}, compat {first['compat']}, {what}")
    table({name: f"{count:,}" for name, count in counts(planned).items()})
    print("jobs by stage")
    table({name: f"{count:,}" for name, count in jobs(planned).items()})
    if missing := absent(first):
        print("named by the configuration, but not on this machine")
        table(missing)
    if options.counts:
        return
    try:
        show(estimate(planned, options.machine, changes))
    except UnknownSizeError as error:  # the counts are worth having all the same
        print(f"no estimate of hours and storage: {error}")


def show(found: "Estimate") -> None:
    """Print an estimate with all that it rests on."""
    what = {"gpu": "gpu (A100)", "h100": "gpu (H100)"}.get(found.machine, found.machine)
    print(f"hours of one {what}, one job after the other, and memory of a job; an estimate")
    if found.stages:
        rows = [["", "jobs", "s a job", "hours", "GB on device", "devices", "GB on host"]]
        for name, stage in found.stages.items():
            each, peak = stage.hours * 3600 / stage.jobs, stage.peak
            sizes = [f"{peak.device / 1e9:,.1f}", str(stage.devices), f"{peak.host / 1e9:,.1f}"]
            rows.append([name, f"{stage.jobs:,}", f"{each:,.0f}", f"{stage.hours:,.1f}", *sizes])
        rows.append(
            ["in all", f"{sum(s.jobs for s in found.stages.values()):,}", "", f"{sum(found.hours.values()):,.1f}"]
        )
        for row in rows:
            print("  " + f"{row[0]:<18}" + "".join(f"{cell:>14}" for cell in row[1:]))
    print("storage, GB")
    table(
        {name: f"{size / 1e9:,.1f}" for name, size in {**found.storage, "in all": sum(found.storage.values())}.items()}
    )
    print("reckoned with (--set NAME=VALUE changes them; tokens of tasks: study/assumptions.yaml)")
    table({name: f"{a.value:,.4g}" for name, a in found.assumptions.items()},
          {name: f"{a.unit} ({a.origin})".strip() for name, a in found.assumptions.items()})  # fmt: skip


def absent(config: dict[str, Any]) -> dict[str, str]:
    """The local files that a configuration names and that are not there, by their key."""
    entries = {"model": config["model"]}
    for section in ("sources", "texts", "tasks"):
        entries |= {f"{section}.{name}": spec for name, spec in config[section].items()}
    found = {}
    for key, spec in entries.items():
        names = [*named_files(spec), *([spec["path"]] if "path" in spec else [])]
        if missing := [name for name in names if not glob.glob(name)]:  # noqa: PTH207 (absolute patterns)
            found[key] = ", ".join(missing)
    return found


def table(values: dict[str, str], notes: dict[str, str] | None = None) -> None:
    """Print names and right-aligned values."""
    width, room = max(map(len, values)), max(12, *map(len, values.values()))
    for name, value in values.items():
        print(f"  {name:<{width}}  {value:>{room}}  {(notes or {}).get(name, '')}".rstrip())


def change(text: str) -> tuple[str, float]:
    """Read `products=9e13`.

    Raises:
        InputError: it has not that form.
    """
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        equals = ""
        number = 0.0
    if not equals:
        raise InputError(f"--set {text}: must be NAME=NUMBER, such as products=9e13")
    return name, number


def setting(text: str) -> tuple[str, Any]:
    """Read `preset=dclm-7b`, the value as YAML.

    Raises:
        InputError: it has not that form.
    """
    import yaml

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"--config {text}: must be KEY=VALUE, such as preset=dclm-7b")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--config {text}: the value is no YAML") from None
