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
from workspace import Workspace, artefacts

pytestmark = [pytest.mark.smoke, pytest.mark.slow]

SEED = 17
KILLS = 5


def start(workspace: Workspace) -> subprocess.Popen[bytes]:
    """`make study CONFIG=my.yaml`, in a session of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(workspace.folder / "src")}
    command = [sys.executable, "workflow/study.py", "--config", "my.yaml", "--", "--cores", "2"]
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


def complete(workspace: Workspace) -> dict[str, int]:
    """Modification times of the artefacts that no interrupted job was making, by Snakemake's own markers."""
    markers = workspace.folder / ".snakemake" / "incomplete"
    names = [path.name for path in markers.rglob("*") if path.is_file()] if markers.is_dir() else []
    unfinished = [base64.urlsafe_b64decode(name).decode() for name in names]
    return {
        name: path.stat().st_mtime_ns
        for name, path in artefacts(workspace).items()
        if not any(name == other or name.startswith(f"{other}/") for other in unfinished)
        and not any(part.startswith(".tmp-") for part in name.split("/"))
        and ".partial/" not in name
    }


def wait_for(workspace: Workspace, count: int, process: subprocess.Popen[bytes]) -> None:
    """Until so many artefacts are there."""
    while len(artefacts(workspace)) < count:
        assert process.poll() is None, (workspace.folder / "study.log").read_text()
        time.sleep(0.02)


RACE = {"for": {"meadow": {}}, "target": "0.6", "reference": "harbour", "budget": [10], "tokens": 400, "own": False}
STUDIES: dict[str, dict[str, object]] = {
    "study": {"preset": "tiny", "seeds": 1},
    "race": {"preset": "tiny", "study": "tiny", "grids": [], "tasks": {}, "choose": RACE},
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_killed_study_goes_on_and_ends_with_the_same_bytes(
    make_workspace: Callable[[], Workspace], name: str
) -> None:
    whole, killed = make_workspace(), make_workspace()
    for workspace in (whole, killed):
        workspace.configure(STUDIES[name])
    assert start(whole).wait() == 0, (whole.folder / "study.log").read_text()
    expected = artefacts(whole)
    assert (name == "race") == ("reports/tiny/answer.json" in expected)
    moments = random.Random(SEED)
    done: dict[str, int] = {}
    for kill in range(KILLS):  # each somewhere in its own part of the study, however fast the machine is
        process = start(killed)
        wait_for(killed, int((kill + moments.random()) / (KILLS + 1) * len(expected)), process)
        time.sleep(moments.uniform(0, 1))
        assert process.poll() is None, "the study ended before it was killed"
        kill_all(process)
        now = complete(killed)
        assert changed(done, now) == {}
        done = now
    assert len(done) > len(expected) / 2
    (killed.folder / "data/tiny/.tmp-of-a-dead-writer.json").write_text("{")  # as kills leave them
    assert start(killed).wait() == 0, (killed.folder / "study.log").read_text()
    found = artefacts(killed)
    assert found.keys() == expected.keys()
    assert [name for name in expected if expected[name].read_bytes() != found[name].read_bytes()] == []
    assert changed(done, complete(killed)) == {}


def changed(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int | None]]:
    """What was complete before and is not the same file now."""
    return {name: (stamp, after.get(name)) for name, stamp in before.items() if after.get(name) != stamp}
