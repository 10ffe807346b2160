"""Sidecars that say where a file came from."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import SIDECAR, read_json, write_json
from calibrant.artefacts.contents import changed, checked_record, record
from calibrant.artefacts.digest import sha256_json
from calibrant.errors import InputError
from calibrant.version import __version__


def sidecar(path: str | Path) -> Path:
    """`results.json` -> `results.provenance.json`; a folder keeps its sidecar inside."""
    path = Path(path)
    return path / SIDECAR if path.is_dir() else path.with_suffix(f".{SIDECAR}")


def write_provenance(path: str | Path, record: dict[str, Any]) -> None:
    """Write the sidecar of `path`: origin, hashes, settings; the library version is added, no clock time."""
    write_json(sidecar(path), {**record, "library_version": __version__})


@contextlib.contextmanager
def described(path: str | Path, record: dict[str, Any]) -> Iterator[None]:
    """Write the sidecar of a file, then the file inside; where that fails and no file was there, no sidecar stays.

    First, so that a file is never there without, by which it is known to be ours.
    """
    path = Path(path)
    new = not path.exists()
    write_json(sidecar(path), record)
    try:
        yield
    except BaseException:
        if new and not path.exists():
            sidecar(path).unlink(missing_ok=True)
        raise


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Read the sidecar of `path`, or {} when there is none.

    Raises:
        InputError: it is no JSON object.
    """
    file = sidecar(path)
    found = read_json(file) if file.exists() else {}
    if not isinstance(found, dict):
        raise InputError(f"{file}: must be a JSON object, as Calibrant wrote it")
    return found


def write_described(path: str | Path, value: Any, about: Mapping[str, Any]) -> None:
    """Write JSON and its sidecar, which has a digest of both."""
    complete = {**about, "library_version": __version__}
    with described(path, record(complete, {"values": sha256_json(value)})):
        write_json(path, value)


def read_described(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """JSON and what its sidecar says of it; {} for JSON without one, which another program wrote.

    Raises:
        InputError: missing, no JSON, or not as its sidecar records it.
    """
    value = read_json(path)
    about = read_provenance(path)
    if not about:
        return value, {}
    found = checked_record(about, str(sidecar(path)))
    try:
        digest = sha256_json(value)
    except ValueError as error:  # NaN, which JSON does not have
        raise changed(str(path), "its values are") from error
    if found.parts != {"values": digest}:
        raise changed(str(path), "its values are")
    return value, found.metadata
