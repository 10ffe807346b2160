"""Stage download: documents, a model and task rows, with their provenance."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrant.artefacts.output_place import Place, check_places
from calibrant.errors import InputError
from calibrant.settings.stage_settings import DownloadSettings
from calibrant.stages.stage import Input, Output, Stage, admit
from calibrant.study.local_files import local_files

if TYPE_CHECKING:
    from calibrant.sources.asset_specs import Assets, Documents

FILES = (
    Input(
        "config",
        "YAML file with model, sources, texts and tasks (or a whole study), or the YAML itself when it starts with {",
        "",
        metavar="CONFIG",
    ),
    Output("output", "folder for model/, sources/, texts/ and tasks/", form="tree", metavar="DIR"),
)


def download(
    config: str | Path,
    output: str | Path,
    settings: DownloadSettings = DownloadSettings(),  # noqa: B008 - frozen
) -> dict[str, str]:
    """Fetch and build what a configuration names, sources before the tasks that are built from them.

    Returns:
        asset -> what was made of it, in a line.

    Raises:
        InputError: nothing is configured, an asset is asked for that is not, or one cannot be had.
    """
    admit(FILES, settings, DownloadSettings, config=config, output=output)
    from calibrant.sources.asset_specs import parse_assets
    from calibrant.sources.model_folder import build_model
    from calibrant.sources.task_files import build_task

    assets = parse_assets(read_config(str(config)))
    root = Path(output)
    archives = root / "archives"
    jobs: dict[str, Callable[[], str]] = {}
    if (model := assets.model) is not None:
        jobs["model"] = partial(build_model, model, root / "model", archives)
    for name, spec in assets.sources.items():
        jobs[f"source:{name}"] = partial(_documents, spec, root / "sources" / name, archives, heldout=True)
    for name, spec in assets.texts.items():
        jobs[f"text:{name}"] = partial(_documents, spec, root / "texts" / name, archives, heldout=False)
    for name, task in assets.tasks.items():
        jobs[f"task:{name}"] = partial(build_task, task, root)
    chosen = select(jobs, settings.only)
    check_places([place for asset in chosen for place in places(asset, assets, root)], read_by(chosen, assets))
    made = {}
    for asset in chosen:
        made[asset] = jobs[asset]()
        print(f"{asset}: {made[asset]}", file=sys.stderr)
    return made


def _documents(spec: "Documents", output: Path, archives: Path, *, heldout: bool) -> str:
    from calibrant.sources.document_builder import build_documents

    return build_documents(spec, output, archives, heldout=heldout).summary(spec.heldout)


def places(asset: str, assets: "Assets", root: Path) -> list[Place]:
    """What is written for an asset."""
    from calibrant.sources.task_files import row_files

    kind, _, name = asset.partition(":")
    if kind == "model":
        return [Place(root / "model", "download", "folder")]
    if kind == "task":
        sidecar = root / "tasks" / f"{name}.provenance.json"
        rows = [root / "tasks" / each for each in row_files(assets.tasks[name])]
        return [Place(path, "download", sidecar=sidecar) for path in (*rows, sidecar)]
    names = ("documents.parquet", "provenance.json", *(("heldout.parquet",) if kind == "source" else ()))
    return [Place(root / f"{kind}s" / name / each, "download") for each in names]


def read_by(chosen: list[str], assets: "Assets") -> list[Path]:
    """The files and folders of this machine that assets are made of."""
    found: list[str | None] = []
    for asset in chosen:
        kind, _, name = asset.partition(":")
        if kind == "model":
            assert assets.model is not None
            found += [assets.model.path, assets.model.archive.file if assets.model.archive else None]
        elif kind == "task":
            found += assets.tasks[name].files.values()
        else:
            spec = (assets.sources if kind == "source" else assets.texts)[name]
            found += local_files({"files": spec.files})
            found.append(spec.archive.file if spec.archive else None)
    return [Path(path) for path in found if path]


def select(jobs: dict[str, Any], only: tuple[str, ...]) -> list[str]:
    """The assets to make, in order: all of them, or those asked for.

    Raises:
        InputError: nothing is configured, or an asset is asked for that is not.
    """
    if not jobs:
        raise InputError("the configuration names nothing to download; give model, sources, texts or tasks")
    for asset in only:
        if asset not in jobs:
            raise InputError(f"--only {asset}: not in the configuration; it has {', '.join(jobs)}")
    return [asset for asset in jobs if not only or asset in only]


def read_config(argument: str) -> dict[str, Any]:
    """The configuration as plain data: inline YAML, a file of assets, or a whole study (merged with its preset).

    Raises:
        InputError: no such file, not YAML, not a mapping, or an unknown key.
    """
    from calibrant.sources.asset_specs import SECTIONS
    from calibrant.study.plain_data import check_plain
    from calibrant.study.strict_yaml import parse, read_text

    inline = argument.lstrip().startswith("{")
    name = "CONFIG" if inline else argument
    config = parse(argument if inline else read_text(argument, f"config {name}"), f"config {name}")
    if not isinstance(config, dict):
        raise InputError(f"config {name}: must map keys to values; it is {type(config).__name__}")
    check_plain(config, f"config {name}")
    if not inline and not config.keys() <= set(SECTIONS):
        from calibrant.study.config import study_keys
        from calibrant.study.study_file import load_config

        if not config.keys().isdisjoint(study_keys() - set(SECTIONS)):
            return load_config(argument)
    for key in config:
        if key not in SECTIONS:
            raise InputError(f"config {name}: unknown key {key} ({config[key]!r}); allowed: {', '.join(SECTIONS)}")
    return config


STAGE = Stage(download, FILES, DownloadSettings)
