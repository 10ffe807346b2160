"""Tables that processes share which were forked from one: whoever makes one first puts it there for the others.

Nobody waits for anybody: a table that is not complete, because it is being made or its maker was killed, is made anew.
"""

import fcntl
import hashlib
import mmap
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

ENTRIES = 256
TABLE = np.dtype(
    [("key", "V32"), ("begin", "<i8"), ("rows", "<i8"), ("columns", "<i8"), ("step", "<i8"), ("whole", "?")]
)
ALIGNED = 64  # bytes, as PyTorch's own memory


class Shelf:
    """Room for tables of one number format in shared memory; what is not written to takes none.

    Make it before forking. Tables are never taken away.
    """

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        """Room for `size` bytes."""
        self.dtype = dtype
        self.size = size
        self._room = mmap.mmap(-1, size)
        self._entries = np.frombuffer(mmap.mmap(-1, ENTRIES * TABLE.itemsize), TABLE)  # zero: free
        self._lock = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this; a lock ends with its process

    def chunks(self, key: bytes, rows: int, make: Callable[[], Iterator[Tensor]]) -> Iterator[Tensor]:
        """What `make` gives, tensors [n, columns] of `rows` rows together, each with as many as the first but the last.

        Args:
            key: what determines every bit of it.
            rows: of all of them.
            make: is called when they are not here; they are then put here, where there is room.
        """
        if not rows:
            yield from make()
            return
        key = hashlib.sha256(key).digest()
        found = self._find(key)
        if found is not None:
            yield from torch.split(self._view(found), int(self._entries[found]["step"]))
            return
        place: int | None = None
        done = 0
        for chunk in make():
            if not done:
                place = self._claim(key, rows, chunk)
            if place is not None:
                self._view(place)[done : done + len(chunk)] = chunk
            done += len(chunk)
            if place is not None and done == rows:
                with self._locked():
                    self._entries[place]["whole"] = True
            yield chunk

    def _find(self, key: bytes) -> int | None:
        with self._locked():
            found = np.flatnonzero((self._entries["key"] == np.void(key)) & self._entries["whole"])
        return int(found[0]) if len(found) else None

    def _claim(self, key: bytes, rows: int, chunk: Tensor) -> int | None:
        """A place for a table whose first chunk this is; None where there is no room, or it is being made."""
        columns = chunk.shape[1]
        if chunk.dtype != self.dtype or chunk.device.type != "cpu":
            return None
        with self._locked():
            used = self._entries[self._entries["rows"] > 0]
            begin = 0
            if len(used):
                last = used[-1]
                begin = int(last["begin"] + last["rows"] * last["columns"] * self.dtype.itemsize)
                begin = -(-begin // ALIGNED) * ALIGNED
            end = begin + rows * columns * self.dtype.itemsize
            if len(used) == ENTRIES or end > self.size or (used["key"] == np.void(key)).any():
                return None
            self._entries[len(used)] = (np.void(key), begin, rows, columns, len(chunk), False)
            return len(used)

    def _view(self, place: int) -> Tensor:
        _, begin, rows, columns, _, _ = self._entries[place].tolist()
        flat = torch.frombuffer(self._room, dtype=self.dtype, count=rows * columns, offset=begin)
        return flat.view(rows, columns)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
