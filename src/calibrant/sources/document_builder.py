"""Build `documents.parquet` and `heldout.parquet` of a source: read, clean, drop by named reason, divide by hash."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.file_kinds import plain_file
from calibrant.artefacts.parquet import TableWriter, table_writer
from calibrant.artefacts.provenance import write_provenance
from calibrant.errors import InputError
from calibrant.sources.archives import fetch_archive, open_member
from calibrant.sources.asset_specs import Documents
from calibrant.sources.cleaning import check_steps, clean
from calibrant.sources.hub import dataset_rows, resolve_dataset
from calibrant.sources.table_rows import file_kind
from calibrant.sources.text_rows import TextRow, file_texts, replaced_note, row_texts
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
    replaced_surrogates: int = 0
    mended: int = 0  # rows that had some

    def record(self) -> dict[str, Any]:
        """Plain data for the provenance sidecar."""
        rare = () if self.mended else ("replaced_surrogates", "mended")
        counts = {key: value for key, value in vars(self).items() if key not in rare}
        return {**counts, "dropped": dict(sorted(self.dropped.items()))}

    def summary(self, heldout: float = 0.0) -> str:
        """One line for people; `heldout` is the share that was to be held out."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.dropped.items())) or "none"
        held = f", {self.heldout} held out" if self.heldout else ""
        parts = [f"read {self.read}, dropped {self.dropped.total()} ({reasons}), kept {self.kept}{held}"]
        if note := replaced_note(self.replaced_surrogates, self.mended):
            parts.append(note)
        if heldout and not self.heldout:
            parts.append(
                f"warning: none is held out although heldout is {heldout:g}, since there are so few; give more "
                "documents, or divide plain text by paragraphs: true"
            )
        return "; ".join(parts)


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
        if tally.kept == 0 and tally.heldout:
            raise InputError(
                f"source {spec.name}: no document is left, all are held out ({tally.summary()}); give more documents, "
                "divide plain text by paragraphs: true, or lower heldout"
            )
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


def _documents(spec: Documents, rows: Iterator[TextRow], tally: Tally) -> Iterator[Document]:
    seen: set[bytes] = set()
    for row in _told(spec, rows):
        if spec.max_documents is not None and tally.kept + tally.heldout >= spec.max_documents:
            break
        if spec.max_characters is not None and tally.characters + tally.heldout_characters >= spec.max_characters:
            break
        tally.read += 1
        tally.replaced_surrogates += row.replaced
        tally.mended += row.replaced > 0
        text, reason = _judge(spec, row.text, seen)
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


def _told(spec: Documents, rows: Iterator[TextRow]) -> Iterator[TextRow]:
    """The rows; where they cannot be read, the message says of which source they are."""
    try:
        yield from rows
    except InputError as error:
        raise InputError(f"source {spec.name}: {error}") from error


def _open_source(spec: Documents, archives: Path) -> tuple[dict[str, Any], Iterator[TextRow]]:
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
        return {**record, "data_files": local}, row_texts(dataset_rows(spec.hub, revision), spec.text_key, name)
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


def _archive_rows(spec: Documents, path: Path) -> Iterator[TextRow]:
    assert spec.archive is not None
    with open_member(path, spec.archive) as stream:
        yield from file_texts(
            stream, spec.archive.inner or spec.archive.member, spec.text_key, paragraphs=spec.paragraphs
        )


def _file_rows(spec: Documents, paths: list[Path]) -> Iterator[TextRow]:
    for path in paths:
        with open(path, "rb") as stream:
            yield from file_texts(stream, str(path), spec.text_key, paragraphs=spec.paragraphs)


def expand(patterns: tuple[str, ...], where: str) -> list[Path]:
    """Files of names and patterns (`data/*.jsonl`), in the given order, each pattern's sorted, none twice.

    Raises:
        InputError: a name is no plain file, a pattern matches none, or a file is of a kind that is not read.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = _matches(pattern)
        if matches == []:
            raise InputError(f"{where}: files has {pattern}, which matches no file")
        matches = matches or [plain_file(pattern, f"{where}: files:")]
        for path in matches:
            file_kind(str(path))
        found |= dict.fromkeys(matches)
    return list(found)


def _matches(pattern: str) -> list[Path] | None:
    """The files that fit a pattern; None where it is a name, of a file that is there or not."""
    path = Path(pattern)
    root = Path(path.anchor) if path.is_absolute() else Path()
    try:
        if path.is_file() or not any(sign in pattern for sign in "*?["):
            return None
        return sorted(p for p in root.glob(str(path.relative_to(path.anchor))) if p.is_file())
    except (OSError, ValueError, NotImplementedError):  # too long, or no pattern
        return None


def _settings(spec: Documents) -> dict[str, Any]:
    keys = ("text_key", "clean", "min_characters", "max_documents", "max_characters", "heldout")
    return {key: getattr(spec, key) for key in keys} | ({"paragraphs": True} if spec.paragraphs else {})


class _Writer:
    """Gather documents and write a row group when there are enough."""

    def __init__(self, parquet: TableWriter):
        self._parquet = parquet
        self._rows: list[Document] = []

    def add(self, document: Document) -> None:
        self._rows.append(document)
        if len(self._rows) == BATCH:
            self.flush()

    def flush(self) -> None:
        columns = {"doc_id": [d.doc_id for d in self._rows], "text": [d.text for d in self._rows]}
        self._parquet.write(pa.table(columns, schema=SCHEMA))
        self._rows.clear()


@contextlib.contextmanager
def _writer(path: Path, metadata: Mapping[str, Any]) -> Iterator[_Writer]:
    with table_writer(path, SCHEMA, metadata) as parquet:
        writer = _Writer(parquet)
        yield writer
        writer.flush()
