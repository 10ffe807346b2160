"""What the system says of itself, and what is said where it says nothing."""

import os
import sys

import psutil
import pytest

from calibrant.system import free_memory, sees_processes

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psutil needs no /proc")


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil looks for /proc where there is none."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/nowhere", raising=False)


def test_the_system_is_asked_for_what_can_be_had() -> None:
    free, known = free_memory(), psutil.virtual_memory()
    assert free is not None
    assert abs(free - known.available) < known.total / 4  # others allocate meanwhile
    assert sees_processes()


@linux
@pytest.mark.usefixtures("no_proc")
def test_without_proc_free_pages_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 16384}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert free_memory() == 16384000


@linux
@pytest.mark.usefixtures("no_proc")
def test_the_names_that_sysconf_is_asked_for_are_linuxs() -> None:
    free = free_memory()
    assert free is not None
    assert 0 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@linux
@pytest.mark.usefixtures("no_proc")
def test_nothing_is_said_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", without)
    assert free_memory() is None
    assert not sees_processes()
