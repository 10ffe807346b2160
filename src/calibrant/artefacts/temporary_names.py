"""Names of unfinished files and folders, and the removal of those whose writer is dead."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".tmp-"  # how the names of unfinished files and folders begin


def temporary_beside(path: Path, suffix: str = "") -> Path:
    """A new name in the folder of `path`. It tells for which file it is, by a hash, and keeps `suffix`."""
    return path.parent / f"{_prefix(path)}{uuid.uuid4().hex}{suffix}"


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock on an unfinished file or folder, which ends with this process at the latest, however that dies."""
    descriptor = lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def lock(path: Path) -> int | None:
    """A descriptor that holds a lock on a file or folder until it is closed; None where a living process holds one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks: then nobody else can take one either
        pass
    return descriptor


def remove_dead(path: Path) -> None:
    """Remove what killed writers of `path` left beside it: their lock is free. What cannot be proved dead stays."""
    with contextlib.suppress(OSError):
        for left in [entry for entry in os.scandir(path.parent) if entry.name.startswith(_prefix(path))]:
            _remove_if_free(Path(left.path))


def _remove_if_free(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(descriptor)


def _prefix(path: Path) -> str:
    return f"{TEMPORARY}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}-"
