"""What a configuration may say of one asset, checked and turned into plain frozen records."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from calibrant.errors import InputError
from calibrant.sources.cleaning import check_steps
from calibrant.sources.table_rows import file_kind

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!_-]*)")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Archive:
    """A member of a zip archive (a wheel, say), perhaps inside a nested zip."""

    sha256: str
    member: str
    package: str | None = None  # NAME==VERSION on the package registry
    file: str | None = None  # or an archive that is already here
    member_sha256: str | None = None
    inner: str | None = None

    @property
    def origin(self) -> str:
        """How provenance and messages call the archive."""
        return self.package or str(self.file)


@dataclass(frozen=True)
class Hub:
    """A data set on the hub, as `datasets.load_dataset` takes it."""

    dataset: str
    config: str | None = None
    split: str = "train"
    data_files: str | tuple[str, ...] | None = None
    revision: str | None = None
    streaming: bool = True


@dataclass(frozen=True)
class Documents:
    """A source of documents: exactly one of archive, files and hub; how to read, clean and divide it."""

    name: str
    archive: Archive | None = None
    files: tuple[str, ...] = ()
    hub: Hub | None = None
    text_key: str = "text"
    paragraphs: bool = False  # whether plain text files are divided into documents at blank lines
    clean: tuple[str, ...] = ()
    min_characters: int = 1
    max_documents: int | None = None
    max_characters: int | None = None
    heldout: float = 0.0
    licence: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Model:
    """A model: exactly one of a GGUF member of an archive, a hub id and a `path`, a local folder or GGUF file."""

    archive: Archive | None = None
    hub: str | None = None
    path: str | None = None
    revision: str | None = None
    id: str | None = None
    note: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class Task:
    """Task rows: built from a source's held-out documents, copied from files, or lm-eval's own from the hub."""

    name: str
    kind: str | None = None
    source: str | None = None
    items: int = 0
    seed: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    hub: bool = False


@dataclass(frozen=True)
class Assets:
    """Everything that one configuration asks to be downloaded."""

    model: Model | None
    sources: dict[str, Documents]
    texts: dict[str, Documents]
    tasks: dict[str, Task]


ARCHIVE_KEYS = ("package", "file", "sha256", "member", "member_sha256", "inner")
HUB_KEYS = ("config", "split", "data_files", "revision", "streaming")
TEXT_KEYS = (
    *("archive", "files", "hub", *HUB_KEYS, "text_key", "paragraphs", "clean"),
    *("min_characters", "max_documents", "max_characters", "licence", "note"),
)
MODEL_KEYS = ("archive", "hub", "path", "revision", "id", "note", "licence")
TASK_KEYS = ("kind", "source", "items", "seed", "files", "hub")
SECTIONS = ("model", "sources", "texts", "tasks")


def parse_assets(config: Mapping[str, Any]) -> Assets:
    """The assets of a configuration; its other sections (of a whole study) are not looked at.

    Raises:
        InputError: an unknown key, a wrong value, or not exactly one origin; the message names the key.
    """
    return Assets(
        model=parse_model(config["model"]) if config.get("model") is not None else None,
        sources={n: parse_documents(f"sources.{n}", n, s, heldout=True) for n, s in _section(config, "sources")},
        texts={n: parse_documents(f"texts.{n}", n, s, heldout=False) for n, s in _section(config, "texts")},
        tasks={n: parse_task(f"tasks.{n}", n, s) for n, s in _section(config, "tasks")},
    )


def parse_model(spec: object) -> Model:
    """Check `model`. Raises InputError as `parse_assets`."""
    values = _mapping("model", spec, MODEL_KEYS)
    _exactly_one("model", values, ("archive", "hub", "path"))
    archive = parse_archive("model.archive", values["archive"]) if "archive" in values else None
    hub = _text("model", values, "hub")
    if hub is not None and not HUB_ID.fullmatch(hub):
        raise InputError(f"model.hub is {hub!r}; it must be a hub id of the form owner/name")
    if "revision" in values and hub is None:
        raise InputError("model.revision: only a hub model has a revision; give hub, or leave revision out")
    if archive is not None and not (archive.inner or archive.member).endswith(".gguf"):
        raise InputError(f"model.archive.member is {archive.member!r}; the model in an archive must be a .gguf file")
    texts = {key: _text("model", values, key) for key in ("path", "revision", "id", "note", "licence")}
    return Model(archive=archive, hub=hub, **texts)


def parse_archive(where: str, spec: object) -> Archive:
    """Check an archive member. Raises InputError as `parse_assets`."""
    values = _mapping(where, spec, ARCHIVE_KEYS)
    _exactly_one(where, values, ("package", "file"))
    texts = {key: _text(where, values, key) for key in ARCHIVE_KEYS}
    for key in ("sha256", "member"):
        if texts[key] is None:
            raise InputError(f"{where}.{key} is missing; an archive needs its sha256 and the member to take")
    for key in ("sha256", "member_sha256"):
        if texts[key] is not None and not SHA256.fullmatch(str(texts[key])):
            raise InputError(f"{where}.{key} is {texts[key]!r}; it must be 64 hexadecimal digits in lower case")
    package = texts["package"]
    if package is not None and not PACKAGE.fullmatch(package):
        raise InputError(f"{where}.package is {package!r}; it must be NAME==VERSION")
    return Archive(**texts)  # type: ignore[arg-type]


def parse_documents(where: str, name: str, spec: object, *, heldout: bool) -> Documents:
    """Check a source (`heldout`: it may keep documents apart) or a text. Raises InputError as `parse_assets`."""
    _check_name(where, name)
    values = _mapping(where, spec, (*TEXT_KEYS, "heldout") if heldout else TEXT_KEYS)
    _exactly_one(where, values, ("archive", "files", "hub"))
    if "hub" not in values and (extra := [key for key in HUB_KEYS if key in values]):
        raise InputError(f"{where}.{extra[0]}: only a hub data set has it; give hub, or leave it out")
    check_steps(where, _strings(where, values, "clean"))
    archive = parse_archive(f"{where}.archive", values["archive"]) if "archive" in values else None
    files = _strings(where, values, "files")
    for key, file in [("archive", archive.inner or archive.member)] if archive else [("files", f) for f in files]:
        if not any(sign in file for sign in "*?["):
            _known_kind(f"{where}.{key}", file)
    share = values.get("heldout", 0.0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise InputError(f"{where}.heldout is {share!r}; it must be a share from 0 to below 1")
    return Documents(
        name=name,
        archive=archive,
        files=files,
        hub=_hub(where, values) if "hub" in values else None,
        text_key=_text(where, values, "text_key") or "text",
        paragraphs=_truth(where, values, "paragraphs"),
        clean=_strings(where, values, "clean"),
        min_characters=_count(where, values, "min_characters", 0) or 1,  # an empty document is none
        max_documents=_count(where, values, "max_documents", 1),
        max_characters=_count(where, values, "max_characters", 1),
        heldout=float(share),
        licence=_text(where, values, "licence"),
        note=_text(where, values, "note"),
    )


def parse_task(where: str, name: str, spec: object) -> Task:
    """Check a task. Raises InputError as `parse_assets`."""
    _check_name(where, name)
    values = _mapping(where, spec, TASK_KEYS)
    given = [key for key in ("kind", "files", "hub") if values.get(key)]
    if len(given) > 1:
        raise InputError(f"{where} has {' and '.join(given)}; give one of kind, files and hub")
    if (kind := values.get("kind")) is None:
        if extra := [key for key in ("source", "items", "seed") if key in values]:
            raise InputError(f"{where}.{extra[0]}: only a task with kind next_sentence has it")
        files = values.get("files", {})
        if not isinstance(files, Mapping) or not all(isinstance(v, str) for v in files.values()):
            raise InputError(f"{where}.files is {files!r}; it must map each split to a JSONL file")
        for split in files:
            _check_name(f"{where}.files", str(split))
        return Task(name=name, files=dict(files), hub=_truth(where, values, "hub"))
    if kind != "next_sentence":
        raise InputError(f"{where}.kind is {kind!r}; the kinds are: next_sentence")
    source, items = _text(where, values, "source"), _count(where, values, "items", 1)
    if source is None or items is None:
        raise InputError(f"{where}: kind next_sentence needs source (a source with held-out documents) and items")
    return Task(name=name, kind=kind, source=source, items=items, seed=_count(where, values, "seed", 0) or 0)


def _known_kind(where: str, file: str) -> None:
    try:
        file_kind(file)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _hub(where: str, values: Mapping[str, Any]) -> Hub:
    files = values.get("data_files")
    if files is not None and not isinstance(files, str):
        files = _strings(where, values, "data_files")
    return Hub(
        dataset=str(_text(where, values, "hub")),
        config=_text(where, values, "config"),
        split=_text(where, values, "split") or "train",
        data_files=files,
        revision=_text(where, values, "revision"),
        streaming=_truth(where, values, "streaming", True),
    )


def _section(config: Mapping[str, Any], key: str) -> list[tuple[str, object]]:
    section = config.get(key) or {}
    if not isinstance(section, Mapping):
        raise InputError(f"{key} is {section!r}; it must map names to what each one is")
    return [(str(name), spec) for name, spec in section.items()]


def _check_name(where: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(f"{where}: the name {name!r} becomes a file name; use letters, digits, - and _")


def _mapping(where: str, spec: object, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(spec, Mapping):
        raise InputError(f"{where} is {spec!r}; it must be a mapping with keys among {', '.join(allowed)}")
    for key in spec:
        if key not in allowed:
            close = difflib.get_close_matches(str(key), allowed, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InputError(f"{where}: unknown key {key} ({spec[key]!r}); {hint}allowed: {', '.join(allowed)}")
    return {str(key): value for key, value in spec.items() if value is not None}


def _exactly_one(where: str, values: Mapping[str, Any], kinds: tuple[str, ...]) -> None:
    given = [kind for kind in kinds if kind in values]
    if len(given) != 1:
        found = " and ".join(given) if given else "none of them"
        raise InputError(f"{where} must have exactly one of {', '.join(kinds)}; it has {found}")


def _text(where: str, values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):  # `text_key: 0` is a natural spelling of "0"
        raise InputError(f"{where}.{key} is {value!r}; it must be a text")
    return str(value)


def _strings(where: str, values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = values.get(key, ())
    if isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise InputError(f"{where}.{key} is {value!r}; it must be a list of texts")
    if key in values and not value and key != "clean":
        raise InputError(f"{where}.{key} is empty; name at least one")
    return tuple(value)


def _truth(where: str, values: Mapping[str, Any], key: str, default: bool = False) -> bool:
    value = values.get(key, default)
    if not isinstance(value, bool):
        raise InputError(f"{where}.{key} is {value!r}; it must be true or false")
    return value


def _count(where: str, values: Mapping[str, Any], key: str, least: int) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{where}.{key} is {value!r}; it must be a whole number of at least {least}")
    return value
