"""Keep freed memory for the next tensor: a forward pass asks for the same few sizes again and again."""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc's malloc.h
LARGEST = 32 << 20  # bytes of a tensor that is kept: the most that every version of glibc allows
KEPT = (1 << 31) - 1  # free bytes at the end of the heap that are kept
VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let glibc keep what tensors on the CPU free, unless the environment sets its allocator; returns whether it does.

    By default glibc gives larger blocks back to the system, which clears their pages each time they are asked for
    again: a tenth of a forward pass over 2048 tokens. Other C libraries are left as they are.
    """
    if sys.platform != "linux" or any(name in os.environ for name in VARIABLES):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    # In this order: a trim threshold alone would fix the other one at 128 KiB.
    return bool(library.mallopt(MMAP_THRESHOLD, LARGEST) and library.mallopt(TRIM_THRESHOLD, KEPT))
