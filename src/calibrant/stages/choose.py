"""Stage choose: which text to calibrate on, asked in one command. It lays out a study and runs the workflow on it."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from calibrant.errors import InputError, MachineError, shown
from calibrant.settings.choose_settings import ChooseSettings
from calibrant.stages.race import PARTS
from calibrant.stages.stage import Input, Output, Stage, admit

SUMMARY_LINES = 12  # of summary.md that are printed
FILES = (
    Input("model", "hub id or local directory"),
    Input("sources", "text to calibrate on; may be repeated", "source", many=True, metavar="[NAME=]FILE"),
    Input(
        "purposes",
        "what the model is for: a text or a task of lm-eval, which judges; may be repeated",
        "for",
        many=True,
        metavar="[NAME=]FILE|TASK",
    ),
    Input(
        "guards",
        "a text or task on which the model of the answer is compared with the reference's; may be repeated",
        "guard",
        required=False,
        many=True,
        metavar="[NAME=]FILE|TASK",
    ),
    Input(
        "data",
        "folder of task rows, <task>[_<variant>]_<split>.jsonl[.gz]; else from the hub",
        required=False,
        metavar="FOLDER",
    ),
    Input("profile", "profile of Snakemake, for jobs on a cluster", required=False, metavar="DIR"),
    Output("output", "folder of the answer", command="choose", form="report", metavar="ANSWER", parts=PARTS),
)


def choose(
    model: str | Path,
    sources: Sequence[str | Path],
    purposes: Sequence[str | Path],
    output: str | Path,
    settings: ChooseSettings = ChooseSettings(),  # noqa: B008 - frozen
    *,
    guards: Sequence[str | Path] = (),
    data: str | Path | None = None,
    profile: str | Path | None = None,
) -> Path | None:
    """Race texts for a purpose, and write the answer; the same call goes on where an earlier one ended.

    Args:
        model: hub id or local directory.
        sources: files of text to calibrate on; `NAME=FILE` names one.
        purposes: files or tasks of lm-eval that judge; `NAME=FILE` names one.
        output: folder of the answer.
        settings: what races, what it chooses by, and how long.
        guards: files or tasks on which the answer is compared with the reference at the end.
        data: folder of task rows; without it they come from the hub.
        profile: folder of a profile of Snakemake.

    Returns:
        The folder of the answer; None for a dry run.

    Raises:
        InputError: bad usage or input, told before anything is written.
        MachineError: the workflow stopped before its end.
    """
    files = {"model": model, "sources": sources, "purposes": purposes, "guards": guards, "data": data}
    admit(FILES, settings, ChooseSettings, **files, profile=profile, output=output)
    root, folder = checkout(), Path(output)
    _check_profile(profile, settings)
    from calibrant.stages.choose_folder import check_unchanged, recorded_study, write_study
    from calibrant.stages.choose_inputs import read_inputs
    from calibrant.stages.choose_plan import first_plan, raised_plan
    from calibrant.stages.choose_study import check_candidates, laid_out, with_defaults

    recorded, before = recorded_study(folder), recorded_study(folder)
    inputs = read_inputs(model, sources, purposes, guards, data, settings)
    gpu, elsewhere = _gpu(settings.device, profile), profile is not None
    asked = laid_out(inputs, settings, gpu=gpu)
    check_candidates(with_defaults(asked))
    if recorded is None:
        plan = first_plan(asked, settings, gpu=gpu, elsewhere=elsewhere)
    else:
        given = {"samples": settings.samples, "length": settings.length}
        check_unchanged(recorded, {**asked, "calibration": given}, folder)
        recorded["choose"]["apply"] = settings.apply
        plan = raised_plan(recorded, settings, folder, gpu=gpu, elsewhere=elsewhere)
    for line in plan.lines():
        print(f"choose: {line}", file=sys.stderr, flush=True)
    if settings.dry_run:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    if plan.config != before:
        write_study(folder, plan.config, root)
    _run(workflow_command(root, folder, profile, settings.cores))
    return folder


def checkout() -> Path:
    """The checkout that this library lies in, with the workflow.

    Raises:
        InputError: the library was installed without it.
    """
    root = Path(__file__).resolve().parents[3]
    if not ((root / "Snakefile").is_file() and (root / "workflow" / "study.py").is_file()):
        raise InputError(
            "choose runs the workflow of a checkout, and this calibrant was installed without one; clone the "
            "repository, run `make` there and use its .venv/bin/calibrant"
        )
    return root


def workflow_command(root: Path, folder: Path, profile: str | Path | None, cores: int | None) -> list[str]:
    """What runs the study in a folder."""
    where = folder.absolute()
    command = [sys.executable, str(root / "workflow" / "study.py"), "--directory", str(where)]
    command += ["--config", str(where / "config.yaml"), "--target", "answer", "--"]
    if profile is not None:
        command += ["--workflow-profile", str(Path(profile).absolute())]
    else:
        command += ["--cores", "all" if cores is None else str(cores)]
    return [*command, "--quiet", "all"]  # the race says what there is to say


def _check_profile(profile: str | Path | None, settings: ChooseSettings) -> None:
    if profile is None:
        return
    if settings.cores is not None:
        raise InputError(
            f"--cores {settings.cores}: with --profile {shown(profile)} the profile says it; give one of the two"
        )
    if not any(Path(profile).glob("config*.yaml")):
        raise InputError(f"--profile {shown(profile)}: holds no config.yaml, as a profile of Snakemake does")


def _gpu(device: str, profile: str | Path | None) -> bool:
    """Whether jobs compute on a GPU, as far as that can be known: a cluster is taken to have some."""
    if device not in ("auto", "cpu", "mps") or (profile is not None and device != "cpu"):
        return True
    if device == "cpu":
        return False
    from calibrant.models.compute.devices import choose_device, on_gpu

    return on_gpu(choose_device(device))


def _run(command: list[str]) -> None:
    """Run the workflow to its end. A terminal sends Ctrl-C to it too; what ends us by our number ends it.

    Raises:
        InputError: it refused the study.
        MachineError: it stopped before its end.
    """
    with subprocess.Popen(command) as process:
        handled: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            handled[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
            handled[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            status = process.wait()
        finally:
            for number, handler in handled.items():
                signal.signal(number, handler)
    if status == 2:
        raise InputError("the workflow refused this input; the line above says what is wrong")
    if status:
        raise MachineError(
            "stopped before the end. If a message above says what is wrong, mend that; then, as after an interruption, "
            "the same command goes on where it was"
        )


def said(folder: Path | None) -> Iterator[str]:
    """The beginning of the answer, and where it lies."""
    if folder is None:
        return
    if (summary := folder / "summary.md").is_file():
        yield from summary.read_text(encoding="utf-8").splitlines()[:SUMMARY_LINES]
    for name, what in (("index.html", "the answer"), ("set.parquet", "the set to calibrate on")):
        if (folder / name).is_file():
            yield f"{what}: {folder / name}"


STAGE = Stage(choose, FILES, ChooseSettings, said=said)
