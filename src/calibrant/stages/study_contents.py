"""Whether what lies at the places of a study's outputs is its own: Snakemake removes them before a job can look."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import SIDECAR, foreign_files, read_json
from calibrant.artefacts.temporary_names import TEMPORARY
from calibrant.artefacts.written_by import written_by
from calibrant.errors import InputError, shown
from calibrant.stages.race import STAGE as CHOOSE
from calibrant.stages.race import foreign_parts
from calibrant.stages.summary import PARTS
from calibrant.study.paths import COMPARISON, StudyPaths
from calibrant.study.targets import PAPER, target_files

RUN = r"[^/]+/[a-z]+-[^/]+"
# Which commands write where below data/STUDY; what no pattern matches, no rule of the workflow makes or removes.
WRITERS = {
    r"(sources|texts)/[^/]+/((documents|heldout)\.parquet|provenance\.json)": ("download",),
    r"tasks/[^/]+(_[a-z0-9]+\.jsonl(\.gz)?|\.provenance\.json)": ("download",),
    r"sets/[^/]+-n\d+-s\d+(\.dropped)?\.parquet": ("sample", "filter"),
    r"generated/[^/]+-p\d+(-c\d+)?\.parquet": ("generate",),
    r"filtered/[^/]+-p\d+-d[\d.]+(\.dropped)?\.parquet": ("filter",),
    r"scores/(sets|generated)/[^/]+\.parquet": ("score",),
    r"similarity/[^/]+\.parquet": ("similarity",),
    r"contamination\.parquet": ("contamination",),
    r"statistics/[^/]+\.safetensors": ("statistics",),
    rf"masks/{RUN}\.safetensors": ("prune",),
    rf"(evaluations|choice/values)/{RUN}(\.json|\.measures\.parquet|\.safetensors)": ("evaluate",),
    r"choice/(parts/[^/]+|pools)/[^/]+\.parquet": ("choose",),
    rf"inspections/{RUN}\.json": ("inspect",),
    r"inspections/overlap\.parquet": ("overlap",),
}
PLACES = [(re.compile(pattern), commands) for pattern, commands in WRITERS.items()]
# Files that name no command, by the keys of what they hold.
LISTS = (
    (re.compile(r"index(/[^/]+)?\.json"), {"study", "runs"}),
    (re.compile(r"number-format\.json"), {"dtype"}),
    (re.compile(r"choice/pools/[^/]+\.json"), {"stage", "documents", "removed"}),
    (re.compile(r"choice/rounds/\d+\.json"), {"round", "measured", "needed"}),
    (re.compile(r"choice/first\.json"), {"best"}),
)
KEPT = "logs", "benchmarks", "archives"  # folders below data/STUDY that are not looked through
STAMP = ".snakemake_timestamp"  # Snakemake's, in each folder that is an output
PAGE = "snakemake-report.html"  # Snakemake's own report, which has this title
TITLE = b"<title>Snakemake Report</title>"


def check_contents(study: str) -> None:
    """Refuse a study at the places of whose outputs lies what no stage of it wrote; from its data and report folders.

    Headers and sidecars are read, no contents: about a millisecond for a file.

    Raises:
        InputError: names the file, and what to do.
    """
    paths = StudyPaths(study)
    for path, whose in _foreign(paths):
        raise InputError(
            f"{shown(path)}: {whose}, and study {study} would remove or replace it; move it away, or give the study "
            "another name"
        )


def _foreign(paths: StudyPaths) -> Iterator[tuple[Path, str]]:
    """Paths that are not the study's own, each with whose they are."""
    yield from _foreign_in_data(Path(paths.data))
    report = Path(paths.report)
    chooses = _record(report / SIDECAR).get("stage") == CHOOSE
    folders = [report / name for name in (*target_files(), PAPER, COMPARISON)]
    for folder in folders if chooses else [report, *folders]:
        if folder.is_dir():
            yield from ((folder / name, "no report wrote it") for name in _foreign_in_report(folder))
    if chooses:
        yield from ((report / name, "no race wrote it") for name in foreign_parts(report))
    for page in (report / PAGE, report / COMPARISON / PAGE):
        if page.is_file() and page.stat().st_size and TITLE not in _start(page):
            yield page, "it is no report of Snakemake"


def _foreign_in_data(data: Path) -> Iterator[tuple[Path, str]]:
    for name in _names(data):
        path = data / name
        commands = next((commands for pattern, commands in PLACES if pattern.fullmatch(name)), None)
        keys = next((keys for pattern, keys in LISTS if pattern.fullmatch(name)), None)
        if path.is_symlink() and path.is_dir():
            yield path, "it is a link to a folder"
        elif commands and (found := written_by(path, _beside(path, name))) not in commands:
            yield path, f"calibrant {found} wrote it" if found else "it is no file of calibrant"
        elif keys and not _holds(path, keys):
            yield path, "it is no file of calibrant"
    model = data / "model"
    if model.is_dir() and (foreign := [name for name in foreign_files(model) if name != STAMP]):
        yield model / foreign[0], "calibrant download did not write it"
    elif model.is_dir() and any(model.iterdir()) and written_by(model) != "download":
        yield model, "calibrant download did not write it"
    elif os.path.lexists(model) and not model.is_dir():
        yield model, "it is no folder of calibrant"


def _names(data: Path) -> Iterator[str]:
    """Files below a study's folder where its outputs lie, in order; the model's apart."""
    for folder, folders, files in os.walk(data):
        apart = (*KEPT, "model") if Path(folder) == data else ()
        folders[:] = sorted(name for name in folders if name not in apart and not _unfinished(name))
        files += [name for name in folders if (Path(folder) / name).is_symlink()]  # which are not looked into
        yield from (
            (Path(folder) / name).relative_to(data).as_posix() for name in sorted(files) if not _unfinished(name)
        )


def _unfinished(name: str) -> bool:
    return name.startswith(TEMPORARY) or name.endswith(".partial")


def _beside(path: Path, name: str) -> Path | None:
    """The sidecar of rows of a task, `tasks/NAME_SPLIT.jsonl`; None for other files."""
    if not name.startswith("tasks/") or name.endswith(".json"):
        return None
    return path.with_name(f"{path.name.rpartition('_')[0]}.provenance.json")


def _foreign_in_report(folder: Path) -> list[str]:
    sidecar = folder / SIDECAR
    if os.path.lexists(sidecar) and written_by(sidecar) != "summarize":
        return [SIDECAR]
    return [name for name in foreign_files(folder) if name.split("/")[0] in PARTS and Path(name).name != STAMP]


def _record(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        found: Any = read_json(path)
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}


def _holds(path: Path, keys: set[str]) -> bool:
    return keys <= _record(path).keys()


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)
