"""Where the calibration set's activations lie: in memory, or in a file for sets larger than memory."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from calibrant.errors import MachineError
from calibrant.system import free_memory

ActivationPlace = Literal["memory", "disk", "auto"]
MEMORY_SHARE = 4  # `auto` keeps activations in memory up to this part (a quarter) of what is free; none if nobody knows


class Activations:
    """Makes tensors for activations; on disk they are memory-mapped files, which the system writes back as it needs.

    Values, and so results, are the same in both places.
    """

    def __init__(self, folder: Path, place: ActivationPlace) -> None:
        self._folder = folder
        self._place = place
        self._count = 0

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised tensor on the CPU."""
        numel = torch.Size(shape).numel()
        if not self._on_disk(numel * dtype.itemsize):
            return torch.empty(tuple(shape), dtype=dtype)
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"activations-{self._count}.bin"
        self._count += 1
        file.unlink(missing_ok=True)  # of an interrupted run, which may have left another size
        reserve(file, numel * dtype.itemsize)
        return torch.from_file(str(file), shared=True, size=numel, dtype=dtype).reshape(tuple(shape))

    def copy(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor, in the same kind of place."""
        return self.empty(tensor.shape, tensor.dtype).copy_(tensor)

    def _on_disk(self, size: int) -> bool:
        if self._place == "auto":
            free = free_memory()
            return free is None or size > free / MEMORY_SHARE
        return self._place == "disk"


def reserve(file: Path, size: int) -> None:
    """Make a file with room for `size` bytes on the disk: in a file that grows as memory, a full disk is a crash.

    Raises:
        MachineError: there is no such room.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if size and hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot
            return
        file.unlink()
        raise MachineError(f"{file}: no room for {size:,} bytes of activations ({error.strerror})") from error
    finally:
        os.close(descriptor)
