"""Digests of what an artefact holds, written into its own metadata and compared when it is read.

A *part* is a column of a table or a tensor of a file: each has a digest of its own, so that a reader of one layer
checks one layer. The record as a whole, with those digests, has one more: metadata cannot be changed unseen either.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.artefacts.digest import canonical_json, sha256_json
from calibrant.errors import InputError

METADATA_KEY = "calibrant"  # of our metadata in Parquet and safetensors
KEY = "contents"


@dataclass(frozen=True)
class Record:
    """Metadata that were found whole.

    metadata: without the digests.
    parts: name of each part -> SHA-256 of it.
    sha256: of all of this; it stands for the artefact, since it covers every part.
    """

    metadata: dict[str, Any]
    parts: Mapping[str, str]
    sha256: str


def record(metadata: Mapping[str, Any], parts: Mapping[str, str]) -> dict[str, Any]:
    """The metadata as they are written: with the digests of the parts, and of the whole."""
    plain = json.loads(canonical_json({**metadata, KEY: {"parts": dict(parts)}}))
    plain[KEY]["sha256"] = sha256_json(plain)
    return dict(plain)


def parse_record(text: str | bytes, where: str) -> Record:
    """The inverse of `record`, from its JSON; `where` heads the messages.

    Raises:
        InputError: no JSON object, no digests, or others than those of what stands beside them.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its metadata key calibrant is not JSON ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: its metadata key calibrant holds {type(found).__name__}; it must be an object")
    return checked_record(found, where)


def checked_record(found: Mapping[str, Any], where: str) -> Record:
    """As `parse_record`, from the parsed object."""
    if KEY not in found:
        raise InputError(
            f"{where}: records no digest of its contents, so that it was made by an earlier version of calibrant, or "
            "changed since; make it again"
        )
    written = found[KEY]
    metadata = {key: value for key, value in found.items() if key != KEY}
    parts = written.get("parts") if isinstance(written, dict) else None
    if not isinstance(parts, dict) or written != _digests(metadata, parts):
        raise changed(where, "its metadata are")
    return Record(metadata, parts, written["sha256"])


def sealed(value: Any) -> dict[str, Any]:
    """A JSON value of an unfinished run as it is kept: with a digest."""
    return record({"value": value}, {})


def unsealed(found: Any, where: str) -> Any:
    """The inverse of `sealed`.

    Raises:
        InputError: it is none, or was changed since.
    """
    return checked_record(found if isinstance(found, dict) else {}, where).metadata.get("value")


def changed(where: str, what: str) -> InputError:
    """The error of a file that is not what its record says; `what` is a subject with its verb, `column text is`."""
    return InputError(f"{where}: {what} not what it was made with: changed since, or damaged; make it again")


def _digests(metadata: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return dict(record(metadata, parts)[KEY])
    except (ValueError, RecursionError):  # what never was JSON, such as NaN
        return None
