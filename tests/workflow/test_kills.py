"""SIGKILL at random moments: a rerun ends with the same bytes and computes nothing again that was complete."""

import base64
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from workspace import Workspace

pytestmark = [pytest.mark.smoke, pytest.mark.slow]

SEED = 17
KILLS = 5
UNDECLARED = {"logs", "benchmarks"}  # under data/: what is allowed to differ


def start(workspace: Workspace) -> subprocess.Popen[bytes]:
    """`make study CONFIG=workflow/presets/tiny.yaml`, in a session of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(workspace.folder / "src")}
    command = [sys.executable, "workflow/study.py", "--config", "workflow/presets/tiny.yaml", "--", "--cores", "2"]
    with Path(workspace.folder / "study.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=workspace.folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, at once, to the study, Snakemake, its shells, the warm server and the stages that it has forked."""
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(tree, timeout=10)


def artefacts(workspace: Workspace) -> dict[str, Path]:
    """Everything that the study declares, by name; Snakemake's own report has the time in it."""
    found = {}
    for root in ("data/tiny", "reports/tiny"):
        for path in (workspace.folder / root).rglob("*"):
            name = path.relative_to(workspace.folder)
            if path.is_file() and not UNDECLARED & set(name.parts) and path.name != "snakemake-report.html":
                found[str(name)] = path
    return found


def complete(workspace: Workspace) -> dict[str, int]:
    """Modification times of the artefacts that no interrupted job was making, by Snakemake's own markers."""
    markers = workspace.folder / ".snakemake" / "incomplete"
    names = [path.name for path in markers.rglob("*") if path.is_file()] if markers.is_dir() else []
    unfinished = [base64.urlsafe_b64decode(name).decode() for name in names]
    return {
        name: path.stat().st_mtime_ns
        for name, path in artefacts(workspace).items()
        if not any(name == other or name.startswith(f"{other}/") for other in unfinished)
        and not name.split("/")[-1].startswith(".tmp-")
        and ".partial/" not in name
    }


def test_a_killed_study_goes_on_and_ends_with_the_same_bytes(make_workspace: Callable[[], Workspace]) -> None:
    whole, killed = make_workspace(), make_workspace()
    began = time.monotonic()
    assert start(whole).wait() == 0, (whole.folder / "study.log").read_text()
    duration = time.monotonic() - began
    moments = random.Random(SEED)
    struck = 0
    done: dict[str, int] = {}
    sizes = []
    for _ in range(KILLS):
        process = start(killed)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert process.wait(moments.uniform(0.15, 0.6) * duration) == 0
            break
        kill_all(process)
        struck += 1
        now = complete(killed)
        assert {name: now.get(name) for name in done} == done
        done = now
        sizes.append(len(done))
    assert start(killed).wait() == 0, (killed.folder / "study.log").read_text()
    expected, found = artefacts(whole), artefacts(killed)
    assert found.keys() == expected.keys()
    assert [name for name in expected if expected[name].read_bytes() != found[name].read_bytes()] == []
    again = {name: found[name].stat().st_mtime_ns for name in done}
    assert {name: (done[name], again[name]) for name in done if done[name] != again[name]} == {}
    assert struck == KILLS, f"the study was done after {struck} kills, with {sizes} files complete at each"
    assert sizes[-1] > sizes[0] >= 0
