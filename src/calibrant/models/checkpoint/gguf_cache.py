"""Models that were given as a GGUF file: each is turned into a checkpoint once, in the user's cache."""

import logging
import os
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from calibrant.artefacts.atomic import FILES, atomic_directory
from calibrant.artefacts.digest import sha256_file, sha256_json
from calibrant.artefacts.file_kinds import plain_file
from calibrant.artefacts.provenance import read_provenance, write_provenance
from calibrant.errors import InputError
from calibrant.models.checkpoint.gguf import dequantise
from calibrant.models.checkpoint.gguf_header import read_gguf_header

log = logging.getLogger(__name__)

VARIABLE = "CALIBRANT_CACHE"
SUFFIX = ".gguf"


def is_gguf(model: str | Path) -> bool:
    """Whether a model is given as a GGUF file, by its name."""
    return Path(model).suffix.lower() == SUFFIX


def gguf_folder(file: Path) -> Path:
    """The checkpoint of a GGUF file, in the cache; it is made there where it is not.

    It is known by the file's SHA-256 and name and by the version of transformers, which converts it. Jobs that want the
    same one wait for each other. Its provenance has the file's name without `.gguf` as `id`, its `sha256`, and what
    `gguf.dequantise` says of it as `gguf`.

    Raises:
        InputError: as `gguf.dequantise`, or the cache cannot be written.
        MachineError: the disk is full.
    """
    plain_file(file, "model")
    digest = sha256_file(file)
    key = sha256_json([digest, file.stem, version("transformers")])
    folder = cache_folder() / "gguf" / key
    if _is_whole(folder):  # the cache may be one that cannot be written
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{key}.lock")):
            if not _is_whole(folder):
                read_gguf_header(file)  # before anything is said of it
                log.warning("model %s: is converted to a checkpoint in %s; this is done once", file, folder.parent)
                with atomic_directory(folder) as temporary:
                    about = dequantise(file, temporary)
                    write_provenance(temporary, {"id": file.stem, "sha256": digest, "gguf": about})
    except OSError as error:
        raise InputError(
            f"model {file}: its checkpoint cannot be written to the cache {folder.parent} ({error.strerror}); set "
            f"{VARIABLE} to a folder that can"
        ) from error
    return folder


def cache_folder() -> Path:
    """Where this program keeps what can be made again: CALIBRANT_CACHE, else `calibrant` in the user's cache folder.

    Raises:
        InputError: no variable says where, and the user has no home folder.
    """
    if own := os.environ.get(VARIABLE):
        return Path(own)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "calibrant"
    try:
        return Path.home() / ".cache" / "calibrant"
    except RuntimeError:
        raise InputError(f"cache: there is no home folder; set {VARIABLE} to a folder that can be written") from None


def _is_whole(folder: Path) -> bool:
    try:
        listed = read_provenance(folder).get(FILES, ())
    except InputError:
        return False
    return "config.json" in listed and all((folder / name).is_file() for name in listed)
