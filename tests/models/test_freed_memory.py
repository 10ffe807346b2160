"""Freed memory is kept: tensors that are made anew cost no new pages, in a process of its own."""

import os
import subprocess
import sys

import pytest

from calibrant.models.compute.freed_memory import VARIABLES

PAGES_NEEDED = """
import ctypes, resource, sys, torch
from calibrant.models.compute.freed_memory import MMAP_THRESHOLD, keep_freed_memory
library = ctypes.CDLL(None)
if hasattr(library, "mallopt"):  # give back every larger block: whether glibc does so by default depends on chance
    library.mallopt(MMAP_THRESHOLD, 128 << 10)
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("nothing done")
def work():
    return sum(float(t[0]) for t in [torch.ones(5 << 20) for _ in range(4)])  # 20 MiB each
for _ in range(8):  # until the pieces of the heap fit
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(how: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-c", PAGES_NEEDED, how]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_no_new_pages() -> None:
    kept, given_back = run("kept"), run("given back")
    if "nothing done" in kept.stderr:
        pytest.skip("the C library has no mallopt")
    assert int(kept.stdout) < int(given_back.stdout) / 10


def test_the_environment_has_the_last_word() -> None:
    assert "nothing done" in run("kept", MALLOC_TRIM_THRESHOLD_="131072").stderr
