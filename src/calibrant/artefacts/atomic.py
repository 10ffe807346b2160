"""Files that appear whole or not at all: write beside the target, fsync, rename."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from calibrant.artefacts.temporary_names import TEMPORARY, held, remove_dead, temporary_beside
from calibrant.errors import InputError, MachineError, is_of_the_machine, reason_of

SIDECAR = "provenance.json"  # inside a folder; see `provenance`
FILES = "files"  # in a folder's sidecar: the names of what was written there


def prepare_parent(path: Path) -> None:
    """Create the folder that will hold `path`.

    Raises:
        InputError: a component of the path is a file, or the folder cannot be created.
        MachineError: the disk is full or read-only.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _machine(path, error)
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
        MachineError: the disk is full or read-only.
    """
    path = Path(path)
    prepare_parent(path)
    remove_dead(path)
    if path.is_dir():
        raise InputError(f"output {path} is a folder; give the name of a file")
    temporary = temporary_beside(path, suffix="".join(path.suffixes[-2:]))
    try:
        with _writable(path):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))
        with held(temporary), room(path):
            mode = temporary.stat().st_mode & 0o777  # the user's umask, which some writers override
            yield temporary
            temporary.chmod(mode)
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success rename it to `path`, replacing an earlier result.

    What is written must include a provenance sidecar (`provenance.write_provenance(folder, ...)`), to which the names
    of the files are added: it is how an earlier result is told from a folder of the user's, which is never replaced.

    Raises:
        InputError: `path` is a file, or a folder with files in it that its sidecar does not list.
        MachineError: the disk is full or read-only.
        ValueError: no sidecar was written.
    """
    path = Path(path)
    prepare_parent(path)
    remove_dead(path)
    check_replaceable(path)
    temporary = temporary_beside(path)
    try:
        with _writable(path):
            temporary.mkdir()
        with held(temporary), room(path):
            mode = temporary.stat().st_mode & 0o777
            yield temporary
            list_files(temporary)
            for inner in temporary.rglob("*"):
                if inner.is_file() and not inner.is_symlink() and inner.stat().st_nlink == 1:  # links are others' files
                    inner.chmod(mode & 0o666)
                    _fsync(inner)
            check_replaceable(path)  # which may have changed while we wrote
            _exchange(temporary, path)
            _fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(path: Path) -> None:
    """Refuse to put a folder where another lies that its sidecar does not describe.

    Raises:
        InputError: `path` is a file, or a folder with files in it that its sidecar does not list.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"output {path} is a file; give the name of a folder")
    if path.is_dir() and (foreign := foreign_files(path)):
        raise InputError(
            f"output {path}: is a folder with other files in it, such as {foreign[0]}; give a new or an empty one"
        )


def foreign_files(folder: Path) -> list[str]:
    """Names below a folder that its sidecar does not list, sorted; all of them where there is no sidecar."""
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    if SIDECAR not in found:
        return found
    try:
        listed = json.loads((folder / SIDECAR).read_text(encoding="utf-8")).get(FILES, ())
        known = {SIDECAR, *listed}
    except (OSError, ValueError, AttributeError, TypeError):
        return found
    return [name for name in found if name not in known]


def list_files(folder: Path) -> None:
    """Add to a folder's sidecar the names of what lies there, where it has no list of its own.

    Raises:
        ValueError: there is no sidecar.
    """
    sidecar = folder / SIDECAR
    if not sidecar.is_file():
        raise ValueError(f"{folder}: was written without {SIDECAR}, so that it could never be replaced")
    record = read_json(sidecar)
    if foreign := foreign_files(folder):
        if FILES in record:
            raise ValueError(f"{folder}: {foreign[0]} is not among the {FILES} of its {SIDECAR}")
        sidecar.write_text(_json({**record, FILES: foreign}), encoding="utf-8")


def _exchange(new: Path, path: Path) -> None:
    """Rename `new` to `path`; what was there goes only once that has worked."""
    if not path.exists():
        new.replace(path)
        return
    old = temporary_beside(path)
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
    write_text(path, _json(value))


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


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _machine(path, error)
        raise InputError(f"output {path}: its folder cannot be written ({error.strerror})") from error


@contextlib.contextmanager
def room(path: Path) -> Iterator[None]:
    """Say in one line that there is no room, whatever library met the end of it."""
    try:
        yield
    except Exception as error:
        _machine(path, error)
        raise


def _machine(path: Path, error: Exception) -> None:
    inside = isinstance(error, MachineError) and TEMPORARY in str(error)  # of a file in a folder that is being written
    if inside or is_of_the_machine(error):
        reason = reason_of(error.__cause__ or error)
        raise MachineError(f"output {path}: cannot be written ({reason})") from error
