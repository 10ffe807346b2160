"""A race through the profile slurm: the jobs of a round side by side, round after round, and the same answer."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import slurm
from support import ROOT
from workspace import Workspace, prepare

pytestmark = pytest.mark.slurm

HERE = Path(__file__).parent
STUDY: dict[str, Any] = {
    "preset": "tiny",
    "study": "mine",
    "model": {"path": "tiny-llama"},
    "compute": {"gpus": 1, "threads": 1},
    "tasks": {},
    "grids": [],
    "choose": {
        **{"for": {"meadow": {}}, "target": "0.5", "origins": ["real"], "reference": "orchard", "own": False},
        **{"tokens": 400, "budget": [12]},
    },
}


def test_a_race_runs_its_rounds_as_jobs(make_workspace: Callable[[], Workspace], tiny_model_dir: Path) -> None:
    if reason := slurm.missing():
        pytest.skip(reason)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the plugin is not installed: pip install -r envs/requirements-slurm.txt")
    workspace, here = make_workspace(), make_workspace()
    for each in (workspace, here):
        prepare(each, tiny_model_dir)
        each.configure(STUDY)
    folder = workspace.folder
    workspace.snakemake("data")  # what a login node does beforehand
    command = [sys.executable, str(HERE / "slurm_snakemake.py"), "--workflow-profile", "workflow/profiles/slurm"]
    command += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    with slurm.one_node_slurm():
        known = {job.id for job in slurm.jobs()}
        run = subprocess.run(
            [*command, "--configfile", "my.yaml", "--", "answer"],
            cwd=folder, env=environment, text=True, capture_output=True, check=False,
        )  # fmt: skip
        done = [job for job in slurm.jobs() if job.id not in known]
    assert run.returncode == 0, run.stderr[-6000:]
    rounds = [json.loads(file.read_text()) for file in sorted((folder / "data/mine/choice/rounds").glob("*.json"))]
    measured = [sum(each["measured"].values()) for each in rounds]
    assert measured[0] == 0
    assert measured == sorted(measured)
    assert len(rounds) >= 3  # what the first takes, what it found, and the next
    assert len(re.findall(r"race: round \d+", run.stderr + run.stdout)) >= len(rounds)
    pruned = [job for job in done if job.rule == "prune" and job.state == "COMPLETED"]
    assert len(pruned) == measured[-1]
    # A later round's jobs begin when those of the first have ended.
    starts = sorted((job.start, job.end) for job in pruned)
    first, later = starts[: measured[1]], starts[measured[1] :]
    assert later
    assert max(end for _, end in first) <= min(start for start, _ in later)
    here.run("workflow/study.py", "--config", "my.yaml", "--target", "answer", "--", "--cores", "2")
    for name in ("answer.json", "set.parquet", "masks.safetensors"):
        assert (folder / "reports/mine" / name).read_bytes() == (here.folder / "reports/mine" / name).read_bytes()
    if path := os.environ.get("CALIBRANT_SLURM_LOG"):
        lines = [f"| {job.id} | {job.rule} | {job.partition} | {job.state} | {job.start[-8:]} | {job.end[-8:]} |"
                 for job in sorted(done, key=lambda job: (job.start, job.id))]  # fmt: skip
        table = [
            "\n## A race\n",
            "| job | rule | partition | state | start | end |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
        with (ROOT / path).open("a") as file:
            file.write("\n".join(table) + "\n")
