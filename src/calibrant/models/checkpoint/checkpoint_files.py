"""The files of a model on disk: where they lie, which they are, and what identifies them. Imports nothing heavy."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import SIDECAR, read_json
from calibrant.artefacts.digest import sha256_file, sha256_json
from calibrant.artefacts.file_kinds import plain_file, refuse_special_files
from calibrant.artefacts.provenance import read_provenance
from calibrant.errors import InputError, first_line, shown, shown_value
from calibrant.models.checkpoint.gguf_cache import gguf_folder, is_gguf
from calibrant.models.checkpoint.weight_files import weight_files
from calibrant.settings.setting import check_text

VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
COMPANIONS = (".json", ".txt", ".model", ".jinja", ".tiktoken")  # of weights; neither pickles nor code
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json")
LINKED = (*TOKENIZER_FILES, "config.json", "generation_config.json", *TEMPLATES, *PROCESSOR_FILES)
Identities = tuple[tuple[str | int, ...], ...]
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "chat_template.jinja")  # neither pickles nor code


def resolve(model: str | Path, revision: str | None = None) -> Path:
    """The local directory of a model: a directory as it is, a GGUF file and a hub id through a cache.

    Raises:
        InputError: neither a directory with config.json, a GGUF file with a model that can be converted
            (`gguf_cache.gguf_folder`), nor a hub id that can be fetched.
    """
    path = Path(model)
    if _is_folder(path):
        check_text("model", str(model))  # libraries take paths as text
        refuse_special_files(path)
        if not (path / "config.json").exists():
            inside = sorted(file.name for file in path.iterdir() if is_gguf(file))
            hint = f"; for a GGUF model give the file, such as {shown(path / inside[0])}" if inside else ""
            raise InputError(f"model {path}: the folder has no config.json, so it is not a Hugging Face model{hint}")
        return path
    if is_gguf(path):
        return gguf_folder(path)
    if os.path.lexists(path):  # which takes any name
        raise InputError(f"model {path} is a file; give a model folder, a .gguf file or a hub id such as apple/DCLM-7B")
    name = str(model)
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise InputError(f"model {name}: no such folder, and not a hub id of the form owner/name")
    from huggingface_hub import snapshot_download

    try:
        # Subfolders hold other formats of the same weights.
        path = Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES), ignore_patterns=["*/*"]))
    except Exception as error:
        raise InputError(
            f"model {name}: neither a local folder nor reachable on the hub ({first_line(error)})"
        ) from error
    if not (path / "config.json").exists():
        raise InputError(f"model {name}: the repository has no config.json, so it is not a Hugging Face model")
    return path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # a name too long, or a folder above it that may not be read
        raise InputError(f"model {path}: cannot be looked up ({error.strerror})") from None


def model_id(path: str | Path) -> str:
    """What to call a model in metadata: the origin in its provenance sidecar, its hub id, or its folder's name.

    Never a machine's path, so that files are the same wherever they are made.

    Raises:
        InputError: what its sidecar calls it, or its folder's name, is no text.
    """
    origin = read_provenance(path).get("id")
    if origin is not None and not isinstance(origin, str):
        raise InputError(f"{Path(path) / SIDECAR}: id {shown_value(origin)}: must be a text")
    if origin:
        check_text(f"{Path(path) / SIDECAR}: id", origin)
        return origin
    folder = Path(path).resolve()
    name = folder.name
    if folder.parent.name == "snapshots":  # of the hub's cache: models--owner--name/snapshots/revision
        name = folder.parents[1].name.removeprefix("models--").replace("--", "/", 1)
    check_text(f"model {path}: the name of its folder", name)
    return name


def companion_files(path: str | Path) -> list[Path]:
    """What a model's folder holds beside the weights: configuration and tokenizer, sorted by name; no provenance.

    A link counts only under a name that models have: a copy of it holds what it leads to, which may be anybody's file.
    """
    return [
        file
        for file in sorted(Path(path).iterdir())
        if file.suffix in COMPANIONS
        and file.is_file()
        and not file.name.endswith(SIDECAR)
        and (file.name in LINKED or not file.is_symlink())
    ]


def file_identities(folder: Path) -> Identities | None:
    """What tells a model's files from other ones without reading them; None where there is no such folder.

    Of each its name, place on the disk, size and times. A file that is written anew, in its place or not, has another
    time of change, which unlike that of modification no program can set. Hidden files are no part of a model.
    """
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        found = [(file.name, file.stat()) for file in files]
    except OSError:
        return None
    return tuple((name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in found)


def fingerprint(path: str | Path) -> str:
    """SHA-256 that identifies a model: its config and its weights, not its folder's name.

    Every byte is read, so ask once (`checkpoint.Checkpoint.sha256` does).

    Raises:
        InputError: there are no weights in safetensors.
    """
    return combined_sha256(path, {file.name: sha256_file(file) for file in weight_files(path)})


def combined_sha256(path: str | Path, weights: Mapping[str, str]) -> str:
    """The fingerprint of a model by the hashes of its weight files, {name: SHA-256}."""
    return sha256_json({"config.json": sha256_file(Path(path) / "config.json"), **weights})


def has_tokenizer(path: str | Path) -> bool:
    """Whether a model directory holds a vocabulary."""
    return any((Path(path) / name).exists() for name in VOCABULARY_FILES)


def tokenizer_sha256(path: str | Path) -> str:
    """SHA-256 over the tokenizer's files.

    Raises:
        InputError: the directory holds no vocabulary (transformers makes an empty tokenizer from settings alone).
    """
    path = Path(path)
    if not has_tokenizer(path):
        raise InputError(f"model {path}: no tokenizer (none of {', '.join(VOCABULARY_FILES)})")
    found = [name for name in TOKENIZER_FILES if (path / name).exists()]
    for name in found:
        plain_file(path / name)
    return sha256_json({name: sha256_file(path / name) for name in found})


def read_raw_config(path: str | Path) -> dict[str, Any]:
    """config.json as plain data.

    Raises:
        InputError: it is missing or not JSON.
    """
    file = Path(path) / "config.json"
    plain_file(file)
    found = read_json(file)
    if not isinstance(found, dict):
        raise InputError(f"{file}: must be a JSON object")
    return found
