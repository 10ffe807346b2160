"""What the operating system says of this machine, and a plain answer where it says nothing.

psutil has calls of its own on macOS. On Linux it reads /proc, which not every container has.
"""

import os
from pathlib import Path

import psutil  # type: ignore[import-untyped]

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def free_memory() -> int | None:
    """Bytes of memory that can be had without swapping; None where the system does not say.

    Where psutil gets no answer, sysconf's free pages are taken: they leave out what caches would give back, so they
    are fewer. macOS has no such number, but psutil answers there.
    """
    try:
        return int(psutil.virtual_memory().available)
    except (OSError, psutil.Error):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def all_memory() -> int | None:
    """Bytes of memory of this machine, or of the container that bounds it; None where the system does not say."""
    try:
        found = int(psutil.virtual_memory().total)
    except (OSError, psutil.Error):
        try:
            found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return None
    try:
        return min(found, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # there is none, or it says max
        return found


def sees_processes() -> bool:
    """Whether the system lets processes be looked at; Linux without /proc does not."""
    try:
        psutil.Process()
    except (OSError, psutil.Error):
        return False
    return True
