"""The profile slurm against a real Slurm with two pretend GPUs: partitions, GPUs, retries, time limits, cancelling.

Two runs of one small study. The first is cancelled while the model is writing; in the second that job hangs until its
time limit kills it. Stages compute on the CPU; `compute.gpus` makes them ask for a GPU all the same.
"""

import contextlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import slurm
from support import ROOT
from workspace import SMALL_STUDY, Workspace, prepare

from calibrant.study.resources import request, shape_for_requests
from calibrant.study.study_file import load_config

pytestmark = pytest.mark.slurm

LONGEST = 900.0  # seconds from the first cancellation on
HERE = Path(__file__).parent
CPU_RULES = {"sample", "contamination", "summarize"}
GPU_RULES = {"generate", "score", "prune", "prune_without_data", "evaluate", "evaluate_dense", "inspect"}
ASKED = ".snakemake/asked"  # touched whenever the plugin has asked for states: see slurm_snakemake.py
GENERATED = "data/mine/generated/stories-p4.parquet"  # not of the study's report: nothing waits for it
CONFIG: dict[str, Any] = {
    **SMALL_STUDY,
    "generation": {"samples": 80, "batch_size": 2},
    "compute": {"gpus": 1, "threads": 1},
    "grids": [
        {"methods": ["dense"]},
        {"methods": ["magnitude"], "targets": ["0.5"]},
        {"methods": ["wanda"], "targets": ["0.5", "2:4"], "origins": ["real"]},
    ],
}


@dataclass
class Observed:
    """What the two runs left behind."""

    folder: Path
    cancelled: list[slurm.Job]
    cancelled_status: int
    cancelled_seconds: float
    waves_at_cancel: dict[str, int]  # inode by name
    waves_at_limit: dict[str, int]
    waves_taken_up: dict[str, int]  # of the run that came to its end, as last seen
    jobs: list[slurm.Job]
    status: int
    output: str
    waited: bool  # whether GPU jobs were seen to wait while all GPUs were in use
    witnesses: list[dict[str, Any]]

    @property
    def ran(self) -> list[slurm.Job]:
        """The jobs of both runs."""
        return [*self.cancelled, *self.jobs]


def waves(folder: Path) -> dict[str, int]:
    found = {}
    for file in folder.glob(f"{GENERATED}.partial/wave-*.json"):
        with contextlib.suppress(FileNotFoundError):
            found[file.name] = file.stat().st_ino
    return found


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str] | None, seconds: float = 400.0) -> None:
    """Wait for a condition, which the process, where there is one, has to live to see."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        assert process is None or process.poll() is None, "the workflow ended"
        time.sleep(0.02)


def stop_generating(folder: Path) -> psutil.Process:
    """Halt the process that generates, as a file system that hangs would."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("workflow/scripts/generate.py") for word in words[:2]) and Path(process.cwd()) == folder:
            process.send_signal(signal.SIGSTOP)
            return process
    raise AssertionError("no process generates")


def interrupt(process: subprocess.Popen[str], log: Path) -> int:
    """Ctrl-C, and once more where nothing comes of it, as a person would; the exit status."""
    for seconds in (30, 60):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(seconds)
        process.send_signal(signal.SIGUSR1)
        time.sleep(1)
    raise AssertionError(f"two interrupts did not end it\n{log.read_text()[-6000:]}")


@pytest.fixture(scope="module")
def observed(make_workspace: Callable[[], Workspace], tiny_model_dir: Path) -> Observed:
    if reason := slurm.missing():
        pytest.skip(reason)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the plugin is not installed: pip install -r envs/requirements-slurm.txt")
    workspace = make_workspace()
    folder = workspace.folder
    prepare(workspace, tiny_model_dir)
    workspace.configure(CONFIG)
    shutil.copy(HERE / "witness.py", folder / "workflow/scripts")
    for script in folder.glob("workflow/scripts/*.py"):
        if "run_stage" in script.read_text():
            script.write_text(f"import witness  # noqa\n{script.read_text()}")
    workspace.snakemake("data")  # what a login node does beforehand; Slurm's jobs need no network then
    config = load_config(folder / "my.yaml", folder / "config.yaml")
    first = request(config, shape_for_requests(config["model"], str(folder / "data/mine/model")), "evaluate").mem_mb
    environment = {**os.environ, "NEEDS_MB": str(first + 1), "PYTHONPATH": str(folder / "src")}
    command = [sys.executable, str(HERE / "slurm_snakemake.py"), "--workflow-profile", "workflow/profiles/slurm"]
    # No accounting database, and no hours to wait: see the profile.
    command += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
    command += ["--configfile", "my.yaml"]

    def start(output: Path, minutes: str) -> subprocess.Popen[str]:
        whole = [*command, "--set-resources", f"generate:runtime={minutes}", "--", "all", GENERATED]
        with open(output, "w") as file:
            return subprocess.Popen(whole, cwd=folder, env=environment, stdout=file, stderr=file, text=True)

    with slurm.one_node_slurm(), contextlib.ExitStack() as running:
        process = start(folder / "first.log", "30")
        running.callback(process.kill)
        wait_for(lambda: len(waves(folder)) >= 2, process)
        stop_generating(folder)
        asked = folder / ASKED
        before = asked.stat().st_mtime_ns
        wait_for(lambda: asked.stat().st_mtime_ns > before, process)
        began = time.monotonic()
        cancelled_status = interrupt(process, folder / "first.log")
        cancelled_seconds = time.monotonic() - began
        wait_for(lambda: not [job for job in slurm.jobs() if job.state == "COMPLETING"], None)
        cancelled, at_cancel = slurm.jobs(), waves(folder)

        shutil.rmtree(folder / ".snakemake/witness", ignore_errors=True)
        process = start(folder / "second.log", "attempt * attempt")
        running.callback(process.kill)
        wait_for(lambda: len(waves(folder)) > len(at_cancel), process)
        halted = stop_generating(folder)
        at_limit, taken_up, waited = waves(folder), {}, False
        while process.poll() is None:
            assert time.monotonic() < began + LONGEST, (folder / "second.log").read_text()
            now = slurm.jobs()
            gpu = [job.state for job in now if job.gpus]
            waited |= gpu.count("RUNNING") == slurm.GPUS and "PENDING" in gpu
            if not halted.is_running():
                taken_up |= waves(folder)
            time.sleep(0.1)
        known = {job.id for job in cancelled}
        done = [job for job in slurm.jobs() if job.id not in known]
        records = [json.loads(file.read_text()) for file in sorted(folder.glob(".snakemake/witness/*.json"))]
        output = (folder / "second.log").read_text()
        found = Observed(folder, cancelled, cancelled_status, cancelled_seconds, at_cancel, at_limit, taken_up, done,
                         process.returncode, output, waited, records)  # fmt: skip
    write_log(found)
    return found


def write_log(found: Observed) -> None:
    """The jobs as a table, where CALIBRANT_SLURM_LOG asks for it."""
    lines = [
        "# Jobs of the Slurm test",
        "`make slurm-test`: a small study through workflow/profiles/slurm on a one-node Slurm with two pretend GPUs "
        f"(Debian's slurm-wlm; Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}).",
        "The first run was cancelled while the model was writing, the second ran to its end. FAILED is a dense "
        "evaluation that exits with 137 as a job without enough memory does, TIMEOUT a generation that was halted "
        "until its limit.",
        "",
        "| run | job | rule | partition | GPUs | memory | limit | state | exit | start | end |",
        "|---|---|---|---|---:|---:|---|---|---|---|---|",
    ]
    for run, jobs in (("cancelled", found.cancelled), ("complete", found.jobs)):
        for job in sorted(jobs, key=lambda job: (job.start, job.id)):
            cells = (run, job.id, job.rule, job.partition, job.gpus, job.memory, job.limit, job.state, job.exit_code,
                     job.start[-8:], job.end[-8:])  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "What the stages of the complete run saw:",
        "",
        "| stage | CUDA_VISIBLE_DEVICES | MB | seconds |",
        "|---|---|---:|---:|",
    ]
    lines += [
        f"| {w['script']} | {w['gpus'] or 'none'} | {w['memory']} | {w['end'] - w['start']:.1f} |"
        for w in found.witnesses
    ]
    if path := os.environ.get("CALIBRANT_SLURM_LOG"):
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text("\n".join(lines) + "\n")


def test_the_study_comes_to_its_end(observed: Observed) -> None:
    assert observed.status == 0, observed.output
    assert (observed.folder / "reports/mine/index.html").stat().st_size > 0
    # What the cancelled run completed, on a fast machine more than on a slow one, is not run again.
    assert {job.rule for job in observed.ran if job.state == "COMPLETED"} == CPU_RULES | GPU_RULES


def test_jobs_with_a_gpu_are_on_its_partition_and_the_others_are_not(observed: Observed) -> None:
    for job in observed.ran:
        assert (job.partition, job.gpus) == (("gpu", 1) if job.rule in GPU_RULES else ("cpu", 0)), job


def test_no_gpu_has_two_jobs_at_once(observed: Observed) -> None:
    assert observed.waited  # else nothing was put to the test
    used = [w for w in observed.witnesses if w["gpus"]]
    assert {w["gpus"] for w in used} == {"0", "1"}
    for one in used:
        others = [w for w in used if w is not one and w["gpus"] == one["gpus"]]
        assert not [w for w in others if w["start"] < one["end"] and one["start"] < w["end"]]
    stamps = [(job.start, job.end) for job in observed.jobs if job.gpus]
    assert max(sum(start <= now < end for start, end in stamps) for now, _ in stamps) == slurm.GPUS


def test_a_job_without_enough_memory_is_submitted_again_with_more(observed: Observed) -> None:
    dense = sorted((job for job in observed.ran if job.rule == "evaluate_dense"), key=lambda job: job.start)
    failed = [job for job in dense if job.state == "FAILED"]
    assert failed
    assert dense[-1].state == "COMPLETED"
    assert megabytes(dense[-1]) >= 2 * megabytes(failed[-1]) - 2


def test_a_job_that_its_time_limit_kills_goes_on_where_it_was(observed: Observed) -> None:
    *killed, last = sorted((job for job in observed.jobs if job.rule == "generate"), key=lambda job: job.start)
    assert killed  # one; on a very busy machine the first may not get to write within its minute
    assert {job.state for job in killed} == {"TIMEOUT"}
    assert last.state == "COMPLETED"
    assert last.limit == f"00:0{(len(killed) + 1) ** 2}:00"
    assert len(observed.waves_at_limit) > len(observed.waves_at_cancel)
    assert observed.waves_at_limit.items() <= observed.waves_taken_up.items()


def test_cancelling_the_workflow_cancels_its_jobs_and_keeps_their_work(observed: Observed) -> None:
    assert observed.cancelled_status != 0
    states = {job.state for job in observed.cancelled}
    assert "CANCELLED" in states
    assert not states & {"RUNNING", "PENDING"}
    assert len(observed.waves_at_cancel) >= 2
    assert observed.waves_at_cancel.items() <= observed.waves_at_limit.items()


def test_interrupted_generation_gives_the_rows_of_an_uninterrupted_one(observed: Observed) -> None:
    options = (
        "generate --documents data/mine/sources/stories/documents.parquet --source stories --model data/mine/model"
        " --prefix-length 4 --samples 80 --length 32 --seed 0 --batch-size 2 --threads 1 --output again.parquet"
    )
    script = "import sys; from calibrant.cli.main import main; sys.exit(main(sys.argv[1].split()))"
    environment = {**os.environ, "PYTHONPATH": str(observed.folder / "src")}
    subprocess.run([sys.executable, "-c", script, options], cwd=observed.folder, env=environment, check=True)
    assert (observed.folder / "again.parquet").read_bytes() == (observed.folder / GENERATED).read_bytes()


def megabytes(job: slurm.Job) -> float:
    number, unit = float(job.memory[:-1]), job.memory[-1]
    return number * {"M": 1, "G": 1024}[unit]
