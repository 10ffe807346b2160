"""Finished rows of an unfinished run, kept beside the output until it is complete."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.artefacts.digest import sha256_json
from calibrant.errors import InputError
from calibrant.generation.generated_rows import Generated


class PartialRows:
    """`<output>.partial/<key>/`: one JSON file for each wave of rows, written atomically.

    The key is a hash of everything that decides the rows, so that work for other inputs is never taken up.
    """

    def __init__(self, output: str | Path, identity: dict[str, Any]) -> None:
        self.root = Path(f"{output}.partial")
        self.folder = self.root / sha256_json(identity)[:16]

    def load(self, wave: int) -> list[Generated] | None:
        """The rows of a finished wave, or None."""
        file = self.folder / f"{wave:06d}.json"
        if not file.exists():
            return None
        try:
            rows = [Generated(**{**row, "ids": tuple(row["ids"])}) for row in read_json(file)]
        except (InputError, TypeError, KeyError):  # not written by us or damaged: the wave is made again
            return None
        return rows

    def save(self, wave: int, rows: Sequence[Generated]) -> None:
        """Keep a finished wave."""
        write_json(self.folder / f"{wave:06d}.json", [asdict(row) for row in rows])

    def clear(self) -> None:
        """Forget everything: the output is complete."""
        shutil.rmtree(self.root, ignore_errors=True)
