"""Hashes that identify inputs: of files, of bytes, and of plain values."""

import hashlib
import json
from pathlib import Path
from typing import Any

from calibrant.errors import InputError


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes.

    Raises:
        InputError: the file is missing, is a folder, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the name of a file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a value's canonical JSON."""
    return sha256_bytes(canonical_json(value).encode())


def check_sha256(path: str | Path, expected: str) -> None:
    """Compare a file with its recorded hash.

    Raises:
        InputError: they differ; the message says what was expected and found.
    """
    found = sha256_file(path)
    if found != expected:
        raise InputError(f"{path}: wrong checksum: expected sha256 {expected}, found {found}")
