"""Provenance sidecars in brief: where something came from, its licence, and the hash that identifies it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """A sidecar in brief, and its whole text."""

    kind: str
    name: str
    origin: str
    licence: str
    note: str
    sha256: str
    json: str


def brief(kind: str, name: str, content: Mapping[str, Any]) -> Record:
    """Read a sidecar as the download stage writes it; what it does not say stays empty.

    An archive is named by package, version and member and identified by its checksum; files by their names, a
    single one by its checksum; a hub data set or model by its id and resolved revision.
    """
    origin = content.get("origin")
    where: Mapping[str, Any] = origin if isinstance(origin, Mapping) else content
    files = where.get("files")
    if archive := where.get("package") or where.get("file"):
        version = where.get("version")
        member = where.get("inner") or where.get("member")
        words = " ".join(str(part) for part in (archive, version) if part)
        text, sha256 = f"{words}: {member}" if member else words, where.get("sha256")
    elif hub := where.get("hub"):
        revision = where.get("revision")
        text, sha256 = f"hub: {hub} @ {revision}" if revision else f"hub: {hub}", None
    elif isinstance(files, list) and files:
        named = [f if isinstance(f, Mapping) else {"name": f} for f in files]
        text = ", ".join(str(f.get("name")) for f in named)
        sha256 = named[0].get("sha256") if len(named) == 1 else None
    else:
        text, sha256 = str(where.get("path") or origin or content.get("id") or ""), None
    shown = content.get("name") or content.get("id") or name
    return Record(
        kind=kind,
        name=str(shown) if kind == "model" else name,
        origin=text,
        licence=str(content.get("licence") or ""),
        note=str(content.get("note") or ""),
        sha256=str(sha256 or ""),
        json=json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False),
    )
