"""Which command of this program wrote what lies at a path, by its own metadata or its sidecar."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.contents import METADATA_KEY
from calibrant.artefacts.provenance import sidecar
from calibrant.artefacts.tensor_header import raw_header
from calibrant.errors import InputError

# Files that name no command, by the keys of their metadata.
KEYS = {
    "prune": {"shapes", "weights_updated"},
    "statistics": {"leaders", "counts"},
    "evaluate": {"model_sha256", "masks_sha256"},
    "download": {"origin", "settings"},
    "summarize": {"study", "inputs"},
}
SIDECARS_OF_DOWNLOADS = ({"id", "files"}, {"name", "origin"}, {"name", "files"}, {"name", "settings"})


def written_by(path: Path, beside: Path | None = None) -> str | None:
    """The command that wrote a file or folder, such as `prune`; None where it was written by no command that we know.

    A folder, and a file without metadata of its own, is known by its sidecar; `beside` names one that lies elsewhere.
    """
    if beside is not None:
        return command_of(_json(beside))
    if path.is_dir():
        return command_of(_json(sidecar(path)))
    if path.name.endswith("provenance.json"):
        return command_of(_json(path))
    own = {".parquet": _parquet, ".safetensors": _safetensors}.get(path.suffix)
    return command_of(own(path) if own else _json(path.with_suffix(".provenance.json")))


def command_of(record: Any) -> str | None:
    """The command that a record names, or that its keys are of."""
    if not isinstance(record, Mapping):
        return None
    if isinstance(record.get("stage"), str):
        return str(record["stage"])
    found = [command for command, keys in KEYS.items() if keys <= record.keys()]
    if not found and any(keys <= record.keys() for keys in SIDECARS_OF_DOWNLOADS):
        return "download"
    return found[0] if found else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return json.loads((pq.read_metadata(path).metadata or {}).get(METADATA_KEY.encode(), b"null"))
    except (pa.ArrowException, OSError, ValueError, RecursionError):
        return None


def _safetensors(path: Path) -> Any:
    try:
        return json.loads(raw_header(path, str(path))["__metadata__"][METADATA_KEY])
    except (InputError, ValueError, KeyError, TypeError, RecursionError):
        return None
