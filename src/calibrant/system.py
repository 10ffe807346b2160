"""What the operating system says of this machine, and a plain answer where it says nothing.

psutil has calls of its own on macOS. On Linux it reads /proc, which not every container has.
"""

import os

import psutil  # type: ignore[import-untyped]


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


def sees_processes() -> bool:
    """Whether the system lets processes be looked at; Linux without /proc does not."""
    try:
        psutil.Process()
    except (OSError, psutil.Error):
        return False
    return True
