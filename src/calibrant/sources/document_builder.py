"""Build `documents.parquet` and `heldout.parquet` of a source: read, clean, drop by named reason, divide by hash."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from calibrant.artefacts.atomic import atomic_path
from calibrant.artefacts.digest import canonical_json, sha256_file
from calibrant.artefacts.parquet import METADATA_KEY
from calibrant.artefacts.provenance import write_provenance
from calibrant.errors import InputError
from calibrant.sources.archives import fetch_archive, open_member
from calibrant.sources.asset_specs import Documents
from calibrant.sources.cleaning import check_steps, clean
from calibrant.sources.hub import dataset_rows, resolve_dataset
from calibrant.sources.table_rows import Row, read_rows
from calibrant.version import __version__

SCHEMA = pa.schema([("doc_id", pa.string()), ("text", pa.string())])
BATCH = 2048  # rows of a row group: documents are written as they come, not gathered


@dataclass
class Tally:
    """How many documents were read, dropped and why, and kept."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    heldout: int = 0
    characters: int = 0
    heldout_characters: int = 0

    def record(self) -> dict[str, Any]:
        """Plain data for the provenance sidecar."""
        return {**vars(self), "dropped": dict(sorted(self.dropped.items()))}

    def summary(self) -> str:
        """One line for people."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.dropped.items())) or "none"
        held = f", {self.heldout} held out" if self.heldout else ""
        return f"read {self.read}, dropped {self.dropped.total()} ({reasons}), kept {self.kept}{held}"


@dataclass(frozen=True)
class Document:
    """A cleaned document; `held` keeps it for evaluation items."""

    doc_id: str
    text: str
    held: bool


def build_documents(spec: Documents, output: Path, archives: Path, *, heldout: bool = True) -> Tally:
    """Write `documents.parquet` (doc_id, text), `heldout.parquet` when asked, and `provenance.json` below `output`.

    Args:
        spec: where the text comes from and how it is cleaned and divided.
        output: folder of this source or text.
        archives: folder that package archives are kept in.
        heldout: whether the held-out documents (perhaps none) get a file; texts have none.

    Raises:
        InputError: the text cannot be had or read, or no document is left.
    """
    check_steps(f"{spec.name}", spec.clean)
    origin, rows = _open_source(spec, archives)
    tally = Tally()
    metadata = {"name": spec.name, "origin": origin, "settings": _settings(spec), "library_version": __version__}
    with contextlib.ExitStack() as stack:
        keep = stack.enter_context(_writer(output / "documents.parquet", metadata))
        held = stack.enter_context(_writer(output / "heldout.parquet", metadata)) if heldout else keep
        for document in _documents(spec, rows, tally):
            (held if document.held else keep).add(document)
        if tally.kept == 0:
            raise InputError(
                f"source {spec.name}: no document is left ({tally.summary()}); loosen clean or min_characters"
            )
    record = {**metadata, "counts": tally.record(), "licence": spec.licence, "note": spec.note}
    write_provenance(output, record)
    return tally


def normalise(text: str) -> str:
    """The text by which duplicates are told: every run of white space is one space."""
    return " ".join(text.split())


def is_held_out(text: str, share: float) -> bool:
    """Whether a document belongs to the `share` kept for evaluation: by its text alone, not its place in the source."""
    digest = hashlib.sha256(b"heldout\0" + normalise(text).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _documents(spec: Documents, rows: Iterator[Row], tally: Tally) -> Iterator[Document]:
    seen: set[bytes] = set()
    for row in rows:
        if spec.max_documents is not None and tally.kept + tally.heldout >= spec.max_documents:
            break
        if spec.max_characters is not None and tally.characters + tally.heldout_characters >= spec.max_characters:
            break
        tally.read += 1
        text, reason = _judge(spec, _text_of(spec, row), seen)
        if text is None:
            tally.dropped[reason] += 1
            continue
        held = is_held_out(text, spec.heldout)
        if held:
            tally.heldout += 1
            tally.heldout_characters += len(text)
        else:
            tally.kept += 1
            tally.characters += len(text)
        yield Document(f"{spec.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}", text, held)


def _judge(spec: Documents, raw: str, seen: set[bytes]) -> tuple[str | None, str]:
    """The cleaned text, or None and why it is dropped. Duplicates are told before and after cleaning."""
    if not raw.strip():
        return None, "empty"
    if _repeats(raw, seen):
        return None, "duplicate"
    text, reason = clean(raw, spec.clean)
    if text is None:
        return None, reason
    if not text.strip():
        return None, "empty"
    if normalise(text) != normalise(raw) and _repeats(text, seen):
        return None, "duplicate"
    return (text, "") if len(text) >= spec.min_characters else (None, "too_short")


def _repeats(text: str, seen: set[bytes]) -> bool:
    digest = hashlib.sha256(normalise(text).encode()).digest()[:16]
    known = digest in seen
    seen.add(digest)
    return known


def _text_of(spec: Documents, row: Row) -> str:
    if spec.text_key not in row:
        raise InputError(f"source {spec.name}: no column {spec.text_key!r} (text_key); there are {', '.join(row)}")
    value = row[spec.text_key]
    if value is not None and not isinstance(value, str):
        raise InputError(f"source {spec.name}: column {spec.text_key!r} holds {type(value).__name__}, not text")
    return value or ""


def _open_source(spec: Documents, archives: Path) -> tuple[dict[str, Any], Iterator[Row]]:
    """What provenance says of the origin, and the rows."""
    if spec.archive is not None:
        path = fetch_archive(spec.archive, archives)
        return archive_origin(spec), _archive_rows(spec, path)
    if spec.hub is not None:
        revision = resolve_dataset(spec.hub)
        name = Path(spec.hub.dataset).name if Path(spec.hub.dataset).is_dir() else spec.hub.dataset
        record = {"hub": name, "config": spec.hub.config, "split": spec.hub.split, "revision": revision}
        named = spec.hub.data_files or ()
        local = [_file_record(file) for file in ([named] if isinstance(named, str) else named)]
        return {**record, "data_files": local}, dataset_rows(spec.hub, revision)
    paths = expand(spec.files, f"source {spec.name}")
    return {"files": [_file_record(str(path)) for path in paths]}, _file_rows(spec, paths)


def archive_origin(spec: Any) -> dict[str, Any]:
    """Package, version, member and checksums of an archive."""
    archive = spec.archive
    package, _, version = (archive.package or "").partition("==")
    return {
        "package": package or None,
        "version": version or None,
        "file": Path(archive.file).name if archive.file else None,
        "sha256": archive.sha256,
        "member": archive.member,
        "member_sha256": archive.member_sha256,
        "inner": archive.inner,
    }


def _file_record(file: str) -> Any:
    return {"name": Path(file).name, "sha256": sha256_file(file)} if Path(file).is_file() else file


def _archive_rows(spec: Documents, path: Path) -> Iterator[Row]:
    assert spec.archive is not None
    with open_member(path, spec.archive) as stream:
        yield from read_rows(
            stream, spec.archive.inner or spec.archive.member, spec.text_key, paragraphs=spec.paragraphs
        )


def _file_rows(spec: Documents, paths: list[Path]) -> Iterator[Row]:
    for path in paths:
        with open(path, "rb") as stream:
            yield from read_rows(stream, str(path), spec.text_key, paragraphs=spec.paragraphs)


def expand(patterns: tuple[str, ...], where: str) -> list[Path]:
    """Files of names and patterns (`data/*.jsonl`), in the given order, each pattern's sorted, none twice.

    Raises:
        InputError: a name or pattern matches no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if any(sign in pattern for sign in "*?[") and not path.is_file():
            root = Path(path.anchor) if path.is_absolute() else Path()
            matches = sorted(p for p in root.glob(str(path.relative_to(path.anchor))) if p.is_file())
        else:
            matches = [path] if path.is_file() else []
        if not matches:
            raise InputError(f"{where}: files has {pattern}, which matches no file")
        found |= dict.fromkeys(matches)
    return list(found)


def _settings(spec: Documents) -> dict[str, Any]:
    keys = ("text_key", "clean", "min_characters", "max_documents", "max_characters", "heldout")
    return {key: getattr(spec, key) for key in keys} | ({"paragraphs": True} if spec.paragraphs else {})


class _Writer:
    """Gather documents and write a row group when there are enough."""

    def __init__(self, parquet: pq.ParquetWriter):
        self._parquet = parquet
        self._rows: list[Document] = []

    def add(self, document: Document) -> None:
        self._rows.append(document)
        if len(self._rows) == BATCH:
            self.flush()

    def flush(self) -> None:
        columns = {"doc_id": [d.doc_id for d in self._rows], "text": [d.text for d in self._rows]}
        self._parquet.write_table(pa.table(columns, schema=self._parquet.schema))
        self._rows.clear()


@contextlib.contextmanager
def _writer(path: Path, metadata: Mapping[str, Any]) -> Iterator[_Writer]:
    schema = SCHEMA.with_metadata({METADATA_KEY: canonical_json(metadata).encode()})
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as parquet:
        writer = _Writer(parquet)
        yield writer
        writer.flush()
