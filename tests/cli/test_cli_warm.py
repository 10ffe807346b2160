"""The warm server runs a stage as the script itself would, and leaves nothing behind."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from without_proc import cannot_hide_proc, without_proc

from calibrant.cli.offline import OFFLINE_VARIABLE, follow_offline
from calibrant.cli.warm import VARIABLE, left_out, run_stage, why_not

SERVER = "import sys; from calibrant.cli.warm import serve; serve(sys.argv[1], int(sys.argv[2]), modules=['json'])"
SCRIPT = "import sys; from calibrant.cli.warm import run_stage; sys.exit(run_stage(sys.argv[1:]))"


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    address: str
    lifeline: int

    def start(self, *arguments: str, folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            cwd=folder,
            env={**os.environ, VARIABLE: self.address},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    address = str(tmp_path / "socket")
    if reason := why_not(address):
        pytest.skip(left_out(reason))
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", SERVER, address, str(read)], pass_fds=[read])
    os.close(read)
    try:
        wait_for(lambda: Path(address).exists())
        yield Server(process, address, write)
    finally:
        process.kill()
        process.wait()


def wait_for(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.02)


@pytest.mark.parametrize("arguments", [["--version"], ["plan", "absent.yaml"], ["nonsense"]])
def test_output_and_status_are_those_of_the_script(server: Server, arguments: list[str], tmp_path: Path) -> None:
    warm = server.start(*arguments, folder=tmp_path)
    warm_output = warm.communicate(timeout=60)
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    cold = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert (warm.returncode, *warm_output) == (cold.returncode, cold.stdout, cold.stderr)


def test_a_killed_script_takes_its_stage_with_it(server: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "study.yaml")  # reading it blocks for ever
    script = server.start("plan", "study.yaml", folder=tmp_path)
    parent = psutil.Process(server.process.pid)
    wait_for(lambda: len(parent.children()) == 1)
    script.kill()
    script.communicate()
    wait_for(lambda: not parent.children())
    assert server.process.poll() is None
    again = server.start("--version", folder=tmp_path)
    again.communicate(timeout=60)
    assert again.returncode == 0


def test_the_server_ends_with_its_owner(server: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "study.yaml")
    script = server.start("plan", "study.yaml", folder=tmp_path)
    parent = psutil.Process(server.process.pid)
    wait_for(lambda: len(parent.children()) == 1)
    os.close(server.lifeline)
    assert server.process.wait(timeout=20) == 0
    _, errors = script.communicate(timeout=20)
    assert script.returncode == 1
    assert "warm server stopped" in errors


def test_without_a_server_the_script_runs_the_stage_itself(tmp_path: Path) -> None:
    environment = {**os.environ, VARIABLE: str(tmp_path / "nobody")}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--version"], env=environment, text=True, capture_output=True
    )
    assert result.returncode == 0
    assert result.stdout.startswith("calibrant ")


@pytest.mark.parametrize(
    ("stage", "given", "found"), [("download", None, None), ("prune", None, "1"), ("evaluate", "0", "0")]
)
def test_only_downloads_may_use_a_network_unless_the_environment_allows_it(
    monkeypatch: pytest.MonkeyPatch, stage: str, given: str | None, found: str | None
) -> None:
    seen = []
    monkeypatch.setenv(OFFLINE_VARIABLE, "")  # so that it is put back whatever a stage does to it
    monkeypatch.delenv(OFFLINE_VARIABLE)
    if given is not None:
        monkeypatch.setenv(OFFLINE_VARIABLE, given)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("calibrant.cli.main.main", lambda _: seen.append(os.environ.get(OFFLINE_VARIABLE)) or 0)
    assert run_stage([stage]) == 0
    assert seen == [found]


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("0", False), (None, False)])
def test_libraries_that_a_server_imported_follow_the_job(
    monkeypatch: pytest.MonkeyPatch, value: str | None, offline: bool
) -> None:
    import datasets.config
    import huggingface_hub.constants

    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, OFFLINE_VARIABLE, not offline)
    monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(OFFLINE_VARIABLE, value)
    follow_offline()
    assert datasets.config.HF_HUB_OFFLINE is offline
    assert huggingface_hub.constants.HF_HUB_OFFLINE is offline


linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no warm server elsewhere")


@linux
def test_a_path_too_long_for_a_socket_is_known_beforehand(tmp_path: Path) -> None:
    just, over = (f"{tmp_path}/".ljust(length, "s") for length in (107, 108))
    assert why_not(just) is None
    assert "TMPDIR" in str(why_not(over))
    with socket.socket(socket.AF_UNIX) as listener:
        with pytest.raises(OSError, match="too long"):
            listener.bind(over)
        listener.bind(just)


def test_other_systems_have_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "only Linux" in str(why_not(str(tmp_path / "socket")))


def test_without_proc_there_is_no_server(tmp_path: Path) -> None:
    if reason := cannot_hide_proc():
        pytest.skip(reason)
    script = "from calibrant.cli.warm import why_not; print(why_not('socket'))"
    command = without_proc(sys.executable, "-c", script)
    result = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True)
    assert "/proc/self/task" in result.stdout


@linux
def test_imports_that_start_threads_leave_the_server_out(tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    read, write = os.pipe()
    try:
        result = subprocess.run(
            [sys.executable, "-c", SERVER.replace("json", "busy"), str(tmp_path / "socket"), str(read)],
            cwd=tmp_path,
            pass_fds=[read],
            text=True,
            capture_output=True,
            timeout=20,
        )
    finally:
        os.close(read)
        os.close(write)
    assert result.returncode == 0
    assert result.stderr.startswith("calibrant: no warm server: its imports have started threads (")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "socket").exists()
