"""Sidecars that say where a file came from."""

from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import SIDECAR, read_json, write_json
from calibrant.errors import InputError
from calibrant.version import __version__


def sidecar(path: str | Path) -> Path:
    """`results.json` -> `results.provenance.json`; a folder keeps its sidecar inside."""
    path = Path(path)
    return path / SIDECAR if path.is_dir() else path.with_suffix(f".{SIDECAR}")


def write_provenance(path: str | Path, record: dict[str, Any]) -> None:
    """Write the sidecar of `path`: origin, hashes, settings; the library version is added, no clock time."""
    write_json(sidecar(path), {**record, "library_version": __version__})


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
