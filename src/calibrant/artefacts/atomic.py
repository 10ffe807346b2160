"""Files that appear whole or not at all: write beside the target, fsync, rename."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from calibrant.errors import InputError

SIDECAR = "provenance.json"  # inside a folder; see `provenance`
TEMPORARY = ".tmp-"  # how names of unfinished files and folders begin


def prepare_parent(path: Path) -> None:
    """Create the folder that will hold `path`.

    Raises:
        InputError: a component of the path is a file, or the folder cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        blocking = path.parent
        if isinstance(error, NotADirectoryError | FileExistsError):
            blocking = next(p for p in path.parents if p.exists() and not p.is_dir())
        raise InputError(
            f"output {path}: cannot create its folder because {blocking} is not a folder that can be "
            f"written ({error.strerror}); choose an output path below a folder"
        ) from error


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it to `path`.

    The temporary name keeps the suffixes of `path`, since writers choose formats by them. On an
    exception the temporary file is removed and `path` stays as it was.

    Raises:
        InputError: `path` is a folder, or its folder cannot be written.
    """
    path = Path(path)
    prepare_parent(path)
    if path.is_dir():
        raise InputError(f"output {path} is a folder; give the name of a file")
    temporary = _beside(path, suffix="".join(path.suffixes[-2:]))
    try:
        with _writable(path):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))
        mode = temporary.stat().st_mode & 0o777  # the user's umask, which some writers override
        yield temporary
        temporary.chmod(mode)
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success rename it to `path`, replacing an earlier result.

    What is written must include a provenance sidecar (`provenance.write_provenance(folder, ...)`): it is
    how an earlier result is told from a folder of the user's, which is never replaced.

    Raises:
        InputError: `path` is a file, or a folder that is not empty and has no `provenance.json`.
        ValueError: no sidecar was written.
    """
    path = Path(path)
    prepare_parent(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"output {path} is a file; give the name of a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / SIDECAR).exists():
        raise InputError(f"output {path}: is a folder with other files in it; give a new or an empty one")
    temporary = _beside(path)
    try:
        with _writable(path):
            temporary.mkdir()
        mode = temporary.stat().st_mode & 0o777
        yield temporary
        if not (temporary / SIDECAR).exists():
            raise ValueError(f"{path}: was written without {SIDECAR}, so that it could never be replaced")
        for inner in temporary.rglob("*"):
            if inner.is_file() and not inner.is_symlink() and inner.stat().st_nlink == 1:  # links are others' files
                inner.chmod(mode & 0o666)
                _fsync(inner)
        _exchange(temporary, path)
        _fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(new: Path, path: Path) -> None:
    """Rename `new` to `path`; what was there goes only once that has worked."""
    if not path.exists():
        new.replace(path)
        return
    old = _beside(path)
    path.replace(old)
    try:
        new.replace(path)
    except BaseException:
        old.replace(path)
        raise
    shutil.rmtree(old)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, newline at the end; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, suffix: str = "") -> Path:
    return path.parent / f"{TEMPORARY}{uuid.uuid4().hex}{suffix}"


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"output {path}: its folder cannot be written ({error.strerror})") from error
