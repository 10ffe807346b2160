"""A failure is told where the user looks, at once, and invalid input ends the study."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

sys.path.insert(0, str(ROOT / "workflow"))
from failed_jobs import last_line
from study_folders import CACHE, cache_variables, check_writable

from calibrant.errors import InputError

# Jobs that fail in one way each, one that depends on none of them, and the profile's keep-going.
SNAKEFILE = """
import sys
sys.path.insert(0, {workflow!r})
from failed_jobs import listen
FAILED = listen(workflow, sys.argv)

onerror:
    FAILED.repeat()

rule all:
    input: "{kind}.txt", "later.txt"

rule fails:
    output: "{{kind}}.txt"
    log: "logs/{{kind}}.log"
    wildcard_constraints: kind="invalid|traceback|silent"
    priority: 10
    retries: 1
    shell: "echo {{wildcards.kind:q}} >> tries; cat messages/{{wildcards.kind:q}} > {{log:q}}; exit 2"

rule later:
    output: "later.txt"
    shell: "touch {{output:q}}"
"""
MESSAGES = {
    "invalid": "reading\nprogress 10%\rprogress 20%\ncalibrant download: x.xyz: is not read\n\n",
    "traceback": "Traceback (most recent call last):\n  File x\nRuntimeError: out of memory\n",
    "silent": "",
}


def run(folder: Path, kind: str, *words: str) -> str:
    """What the terminal shows of a study in which that job fails."""
    (folder / "messages").mkdir()
    for name, text in MESSAGES.items():
        (folder / "messages" / name).write_text(text)
    (folder / "Snakefile").write_text(SNAKEFILE.format(workflow=str(ROOT / "workflow"), kind=kind))
    (folder / "profile").mkdir()
    (folder / "profile" / "config.yaml").write_text("keep-going: true\nquiet: [rules, host]\n")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--workflow-profile", "profile", *words]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    return result.stderr


def test_invalid_input_is_told_at_once_and_ends_the_study(tmp_path: Path) -> None:
    shown = run(tmp_path, "invalid")
    told = "fails (invalid) failed: calibrant download: x.xyz: is not read\n  its log: logs/invalid.log\n"
    assert shown.count(told) == 2  # where it happens, and at the end
    assert "no more jobs are started; --keep-going runs those that do not need it" in shown
    assert "CalledProcessError" not in shown
    assert not (tmp_path / "later.txt").exists()
    assert (tmp_path / "tries").read_text() == "invalid\n"  # the same input would be refused again


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("invalid", ["--keep-going"], "calibrant download: x.xyz: is not read"),
        ("traceback", [], "RuntimeError: out of memory"),
        ("silent", [], "without a word, perhaps for want of memory"),
    ],
)
def test_other_failures_stop_only_what_needs_them(tmp_path: Path, kind: str, words: list[str], said: str) -> None:
    shown = run(tmp_path, kind, *words)
    assert f"fails ({kind}) failed: {said}\n  its log: logs/{kind}.log\n" in shown
    assert "no more jobs" not in shown
    assert (tmp_path / "later.txt").exists()
    assert (tmp_path / "tries").read_text() == f"{kind}\n" * 2


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(str(log)) == ""
    assert last_line("") == ""
    log.write_bytes(b"\xff\na\rb\r\n\n")
    assert last_line(str(log)) == "b"
    log.write_text("x" * 10_000)
    assert len(last_line(str(log))) == 500


def test_caches_go_where_they_can_be_written(tmp_path: Path) -> None:
    """A container's home folder may be missing or read-only; Snakemake keeps a cache there."""
    (tmp_path / "file").touch()
    ours = {CACHE: str(tmp_path / ".snakemake" / "cache")}
    assert cache_variables(tmp_path, {CACHE: str(tmp_path / "cache")}) == {}
    assert cache_variables(tmp_path, {CACHE: str(tmp_path / "file" / "cache")}) == ours
    assert cache_variables(tmp_path, {CACHE: "relative"}) == ours


def test_a_checkout_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    check_writable(tmp_path)
    (tmp_path / "data").rmdir()
    (tmp_path / "data").touch()
    with pytest.raises(
        InputError, match=r"data: cannot be written \(File exists\); run a copy of the checkout that can"
    ):
        check_writable(tmp_path)
