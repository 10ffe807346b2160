"""Finished rows of an unfinished run, kept beside the output until it is complete."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.artefacts.contents import sealed, unsealed
from calibrant.artefacts.unfinished import Unfinished
from calibrant.errors import InputError
from calibrant.generation.generated_rows import Generated


class PartialRows(Unfinished):
    """A JSON file for each finished wave of rows, in the folder of an unfinished run."""

    def load(self, wave: int) -> list[Generated] | None:
        """The rows of a finished wave, or None."""
        file = self._wave_file(wave)
        if not file.exists():
            return None
        try:
            rows = [Generated(**{**row, "ids": tuple(row["ids"])}) for row in unsealed(read_json(file), str(file))]
        except (InputError, TypeError, KeyError):  # not written by us or damaged: the wave is made again
            return None
        return rows

    def save(self, wave: int, rows: Sequence[Generated]) -> None:
        """Keep a finished wave."""
        write_json(self._wave_file(wave), sealed([asdict(row) for row in rows]))

    def _wave_file(self, wave: int) -> Path:
        return self.file(f"wave-{wave:06d}.json")
