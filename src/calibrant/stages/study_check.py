"""What can be told of a study before anything runs, besides what its schema says; nothing heavy is imported."""

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.file_kinds import plain_file
from calibrant.choice.entries import entries, variants
from calibrant.errors import InputError, shown
from calibrant.settings.method_options import owl_options, read_options
from calibrant.settings.race_settings import FIRST
from calibrant.settings.target import parse_target
from calibrant.sources.asset_specs import parse_assets
from calibrant.sources.text_rows import file_texts
from calibrant.study.grid import calibration_sets, runs
from calibrant.study.inspected_masks import inspections
from calibrant.study.local_files import local_files, named_files
from calibrant.study.paths import StudyPaths
from calibrant.study.targets import PAPER, target_files

TINY = "tiny-material"  # in data/: the workflow makes it


def check_study(config: Mapping[str, Any], name: str) -> None:
    """Refuse a resolved configuration that would end in a job: hours later, perhaps.

    Files of this machine are not looked for: a study may be planned, and its jobs may run, where they are not.

    Raises:
        InputError: names the key, the value and what would be right.
    """
    try:
        parse_assets(config)
        for run in runs(dict(config)):
            _check_options(run.method, run.target, config["pruning"]["options"])
        calibration_sets(dict(config))
        inspections(dict(config))
        _check_layout(config)
        _check_race(config)
        _check_heldout(config)
        _check_names(config)
        _check_folders(StudyPaths(config["study"]))
        _check_inputs(config, StudyPaths(config["study"]))
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(f"{name}: ") else f"{name}: {said}") from None


def check_files(config: Mapping[str, Any], name: str) -> None:
    """Refuse a study whose files are not here, where it runs, or hold no text; what it has fetched is not looked for.

    Raises:
        InputError: names the key, the file and what is wrong.
    """
    paths = StudyPaths(config["study"])
    wanted = {}
    for key, spec in specs(config).items():
        section, _, asset = key.partition(".")
        made = paths.task_files(asset, config["tasks"][asset]) if section == "tasks" else []
        if not all(Path(each).exists() for each in made or paths.fetched(section, asset)):
            wanted[key] = spec
    for key, files in absent(config).items():
        if key in wanted:
            raise InputError(f"{name}: {key}: {files}: no such file")
    check_first_rows(wanted, name)


def check_first_rows(wanted: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """Read the first row of each file of documents that is here, by which a wrong key or kind of file is told.

    Raises:
        InputError: names the key, the file and what is wrong.
    """
    for key, spec in wanted.items():
        files = local_files(spec) if key.startswith(("sources.", "texts.")) and "files" in spec else []
        for file in (file for file in files if os.path.lexists(file)):
            try:
                with plain_file(file, "the file").open("rb") as stream:
                    next(file_texts(stream, file, spec.get("text_key", "text"), paragraphs=spec["paragraphs"]), None)
            except InputError as error:
                raise InputError(f"{name}: {key}: {error}") from None
            except OSError as error:
                raise InputError(f"{name}: {key}: {file}: cannot be read ({error.strerror})") from None


def absent(config: Mapping[str, Any]) -> dict[str, str]:
    """The files of this machine that a configuration names and that are not there, by their key."""
    found = {}
    for key, spec in specs(config).items():
        names = [name for name in named_files(spec) if not name.startswith(f"data/{TINY}/")]
        folder = [spec["path"]] if "path" in spec and not spec["path"].startswith(f"data/{TINY}/") else []
        if missing := [name for name in [*names, *folder] if not glob.glob(name)]:  # noqa: PTH207 (absolute patterns)
            found[key] = ", ".join(missing)
    return found


def specs(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The model, sources, texts and tasks of a configuration by their keys."""
    sections = ("sources", "texts", "tasks")
    return {"model": config["model"]} | {f"{s}.{name}": spec for s in sections for name, spec in config[s].items()}


def _check_options(method: str, target: str, options: Mapping[str, Any]) -> None:
    """What a schema cannot know of methods' options, without the methods, whose imports take seconds."""
    if method == "awq" and options.get("sequential") == "sublayer":
        raise InputError(
            "pruning.options: sequential is sublayer, and awq scales what lies before a linear layer, which is "
            "quantized by then; use layer or dense"
        )
    own = {key: str(value) for key, value in options.items() if key == "owl.lambda"}
    if method == "owl" and own:
        try:
            read_options(method, owl_options(parse_target(target).pattern), own)
        except InputError as error:
            raise InputError(f"pruning.options at target {target}: {error}") from None


def _check_heldout(config: Mapping[str, Any]) -> None:
    for task, spec in config["tasks"].items():
        source = spec.get("source")
        if source in config["sources"] and not config["sources"][source].get("heldout"):
            raise InputError(
                f"tasks.{task} is made of held-out documents of {source}, which holds none out; give "
                f"sources.{source}.heldout, such as 0.1"
            )


def _check_race(config: Mapping[str, Any]) -> None:
    """Who races, and whether the method has the options that candidates differ in."""
    if "choose" not in config:
        return
    chosen = config["choose"]
    racing, budget = entries(config), chosen["budget"][0]
    if budget < (least := FIRST * len(racing)):
        raise InputError(
            f"choose.budget is {chosen['budget']}: too small for {len(racing)} candidates, of which each needs {FIRST} "
            f"sets in the first round; give {least} or more, or fewer sources, origins or options"
        )
    _check_options(chosen["method"], chosen["target"], config["pruning"]["options"])
    if chosen["options"]:  # the methods take imports of seconds
        from calibrant.pruning.methods.composition import compose

        for each in variants(config):
            try:
                compose(chosen["method"], chosen["target"], each)
            except InputError as error:
                raise InputError(f"choose.options: {error}") from None


def _check_layout(config: Mapping[str, Any]) -> None:
    """A study's own layout; those of the library's experiments are right, and to look takes imports of a second."""
    layout = config.get("layout")
    known = [(each["layout"]["name"], each["layout"].get("parameters", {})) for each in target_files().values()]
    if layout and layout["name"] != PAPER and (layout["name"], layout["parameters"]) not in known:
        from calibrant.reporting.pages.layouts import named_layout
        from calibrant.study.report_index import parameters

        named_layout(layout["name"], parameters(dict(config)))


def _check_names(config: Mapping[str, Any]) -> None:
    for key, spec in specs(config).items():
        for name in [*named_files(spec), *([spec["path"]] if "path" in spec else [])]:
            if "{" in name or "}" in name:
                raise InputError(f"{key} names the file {name}; rename it: Snakemake takes braces for wildcards")


def _check_inputs(config: Mapping[str, Any], paths: StudyPaths) -> None:
    """What the study reads lies outside the folders that it writes: Snakemake empties those of its outputs."""
    for folder in (paths.data, paths.report):
        own = Path(os.path.realpath(folder))
        for key, spec in specs(config).items():
            named = [*named_files(spec), *([spec["path"]] if "path" in spec else [])]
            for name in [*named, *(local_files(spec) if named else [])]:
                # Where a link lies too: the link is what would be removed.
                lies = Path(os.path.realpath(Path(name).parent)) / Path(name).name
                if any(own in (place, *place.parents) for place in (lies, Path(os.path.realpath(name)))):
                    raise InputError(
                        f"{key} names {shown(name)}, which lies in {folder}, where study {paths.study} writes and "
                        "removes files; move it to another folder, or give the study another name"
                    )


def _check_folders(paths: StudyPaths) -> None:
    for folder in (paths.data, paths.report):
        if Path(folder).exists() and not Path(folder).is_dir():
            raise InputError(f"study is {paths.study}, but {folder} is a file; give the study another name")
