"""The workflow on a system that does not show its processes, as a stand-in for systems other than Linux.

/proc is hidden, so psutil, PyTorch and the warm server find nothing there. macOS is not the same: psutil and PyTorch
ask it in other ways. What is shown here is that nothing of the project needs a /proc.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from without_proc import cannot_hide_proc, without_proc
from workspace import Workspace, artefacts

pytestmark = pytest.mark.portable

TARGET = "figure4"
STUDY: dict[str, object] = {
    "preset": "tiny",
    "seeds": 1,
    "axes": {"prefix_lengths": [4]},
    "sources": {"orchard": {"files": ["data/tiny-material/orchard.jsonl"], "heldout": 0.3}},
    "trained_on": [],
    "tasks": {"next_sentence_orchard": {"kind": "next_sentence", "source": "orchard", "items": 4}},
}
FORMAT, INDEX, PAGE, SUMMARY = (
    "data/tiny/number-format.json",
    f"data/tiny/index/{TARGET}.json",
    f"reports/tiny/{TARGET}/index.html",
    "reports/tiny/figure4/summary.md",
)


@pytest.fixture
def both(make_workspace: Callable[[], Workspace]) -> tuple[Workspace, Workspace]:
    """The same study twice: as usual, and without /proc."""
    if reason := cannot_hide_proc():
        pytest.skip(reason)
    usual, hidden = make_workspace(), make_workspace()
    hidden.within = without_proc()
    for workspace in (usual, hidden):
        workspace.configure(STUDY)
    return usual, hidden


def test_without_proc_jobs_start_more_slowly_and_give_the_same_files(
    both: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file is the same to the last byte, but for the processor's name in the four that say what ran where.

    On Linux PyTorch reads in /proc/cpuinfo which instruction set to use, and takes none without it, so that results
    differ in their last digits. Here it is told to take the one that it takes as usual.
    """
    usual, hidden = both
    as_usual = study(usual)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", torch.backends.cpu.get_cpu_capability().lower())
    slowly = study(hidden)
    assert [line for line in as_usual if "warm server" in line] == []
    assert [line for line in slowly if "warm server" in line] == [
        "calibrant: no warm server: /proc/self/task, which tells whether it may fork, cannot be read. "
        "Jobs start some seconds later and give the same files"
    ]
    expected, found = artefacts(usual), artefacts(hidden)
    assert found.keys() == expected.keys() > {FORMAT, INDEX, PAGE, SUMMARY}
    differing = {name for name in expected if expected[name].read_bytes() != found[name].read_bytes()}
    assert differing <= {FORMAT, INDEX, PAGE, SUMMARY}
    for name in differing:
        text = expected[name].read_text()
        for mine, other in zip(names(usual.folder), names(hidden.folder), strict=True):
            text = text.replace(mine, other)
        assert text == found[name].read_text()


def test_without_proc_a_lock_is_left_to_its_owner(both: tuple[Workspace, Workspace]) -> None:
    _, hidden = both
    lock = hidden.folder / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    result = hidden.run("workflow/study.py", "--config", "my.yaml", check=False)
    assert result.returncode == 1
    assert "does not show whether it still runs" in result.stderr
    assert lock.exists()


def study(workspace: Workspace) -> list[str]:
    """Run the target to its end; the lines on stderr."""
    result = workspace.run("workflow/study.py", "--config", "my.yaml", "--target", TARGET, "--", "--cores", "2")
    return result.stderr.splitlines()


def names(folder: Path) -> list[str]:
    """What the processor is called: by PyTorch in number-format.json, by the system in the report."""
    pairs = json.loads((folder / INDEX).read_text())["study"]["machine"]
    processor = next(pair["value"] for pair in pairs if pair["name"] == "Processor")
    return [json.loads((folder / FORMAT).read_text())["hardware"], processor]
