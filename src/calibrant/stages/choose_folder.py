"""The folder of an answer: whether `choose` may write there, and what an earlier run of it recorded."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from calibrant.artefacts.atomic import write_text
from calibrant.artefacts.temporary_names import TEMPORARY
from calibrant.errors import InputError, shown
from calibrant.settings.choose_settings import USUAL_TARGET
from calibrant.settings.target import parse_target
from calibrant.stages.choose_study import STUDY
from calibrant.study.older_keys import with_present_keys
from calibrant.study.yaml_mappings import read_yaml

CONFIG = "config.yaml"
HEAD = """\
# The study behind this answer, written by `calibrant choose` (docs/choose.md). The same command goes on where it
# was; so does snakemake --snakefile {root}/Snakefile --directory {folder} --cores all answer
"""


def recorded_study(folder: Path) -> dict[str, Any] | None:
    """The configuration of an earlier `choose` in this folder; None where the folder is empty or not there.

    Raises:
        InputError: the folder holds other files.
    """
    if not os.path.lexists(folder):
        return None
    if not folder.is_dir():
        raise InputError(f"--output {shown(folder)}: is a file; give the name of a folder")
    held = sorted(path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY))
    if not held:
        return None
    if CONFIG in held:
        try:
            found = read_yaml(folder / CONFIG)
        except InputError:
            found = {}
        if found.get("study") == STUDY and isinstance(found.get("choose"), dict) and found["choose"].get("budget"):
            return with_present_keys(found, shown(folder / CONFIG))
    raise InputError(
        f"--output {shown(folder)}: holds {shown(held[0])}, and no choose wrote this folder; give a new or an empty one"
    )


def write_study(folder: Path, config: dict[str, Any], root: Path) -> None:
    """Write the configuration of an answer, whole or not at all."""
    head = HEAD.format(root=root, folder=folder.absolute()) if f"{root}{folder}".isprintable() else ""
    write_text(folder / CONFIG, head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120))


def check_unchanged(recorded: dict[str, Any], asked: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with another race than the one that was begun; whether a checkpoint is written may change.

    Args:
        recorded: the configuration that lies there.
        asked: what the command line says now; `calibration` holds what it gives of samples and length.
        folder: of the answer.

    Raises:
        InputError: names the flag, what it was and what it is.
    """
    for (flag, was), (_, now) in zip(_by_flag(recorded), _by_flag(asked), strict=True):
        if flag in ("--samples", "--length") and now is None:
            continue  # was decided by the budget
        if was != now:
            raise InputError(
                f"{flag} {_said(now)}: the race in {shown(folder)} has {_said(was)}; give that, or another --output"
            )


def _by_flag(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    chosen, sections = config["choose"], {name: config.get(name) or {} for name in ("texts", "tasks", "compute")}
    judging = {**sections["texts"], **sections["tasks"]}

    def files(names: Any) -> dict[str, Any]:
        return {name: judging.get(name, {}) for name in names}

    yield "--model", config.get("model")
    yield "--source", config.get("sources")
    yield "--for", files(chosen.get("for", ()))
    yield "--weight", {name: float(spec.get("weight", 1)) for name, spec in chosen.get("for", {}).items()}
    yield "--guard", files(chosen.get("guard", ()))
    target = parse_target(str(chosen.get("target", USUAL_TARGET)))
    yield "--sparsity", None if target.pattern is None else str(target.pattern)
    yield "--bits", target.width and target.width.bits
    yield "--group", target.width and target.width.group
    for name in ("method", "origins", "reference", "measure", "margin", "tokens"):
        yield f"--{name}", chosen.get(name)
    yield "--option", {**(config.get("pruning") or {}).get("options", {}), **chosen.get("options", {})}
    for name in ("samples", "length"):
        yield f"--{name}", (config.get("calibration") or {}).get(name)
    for name in ("dtype", "device"):
        yield f"--{name}", sections["compute"].get(name, "auto")


def _said(value: Any) -> str:
    """A value of a configuration as the command line has it, more or less."""
    if isinstance(value, dict):
        named = next((value[key] for key in ("path", "files", "hub") if key in value), None)
        if named is not None:
            return (
                "rows of the hub"
                if named is True
                else _said(list(named.values()) if isinstance(named, dict) else named)
            )
        return shown(" ".join(f"{name}={_said(item)}" for name, item in value.items())) or "none"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
