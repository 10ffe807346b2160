"""Task rows in local files: `<task>[_<variant>]_<split>.jsonl[.gz]` in one folder."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calibrant.artefacts.digest import sha256_file
from calibrant.errors import InputError
from calibrant.sources.table_rows import Row, read_rows
from calibrant.sources.text_rows import replaced_note

SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass
class RowFolder:
    """A folder of task rows; remembers which files were read (`used`: name to sha256) and keeps them in memory.

    Raises:
        InputError: the folder does not exist.
    """

    path: Path
    used: dict[str, str] = field(default_factory=dict)
    _rows: dict[Path, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise InputError(f"--data {self.path}: no such folder")

    def find(self, task: str, split: str, *, variant: bool = True) -> Path | None:
        """The file of a task's split, or None. The plain name wins over a name with a variant.

        Raises:
            InputError: two files fit equally well.
        """
        exact = [self.path / f"{task}_{split}{suffix}" for suffix in SUFFIXES]
        found = [path for path in exact if path.is_file()]
        if not found and variant:
            pattern = re.compile(rf"{re.escape(task)}_[^_.]+_{re.escape(split)}\.jsonl(\.gz)?")
            found = sorted(path for path in self.path.iterdir() if pattern.fullmatch(path.name))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InputError(f"--data {self.path}: {names} all fit task {task}, split {split}; keep one")
        return found[0] if found else None

    def read(self, path: Path) -> list[Row]:
        """All rows of a file.

        Raises:
            InputError: not JSON lines, or no rows.
        """
        if path not in self._rows:
            with path.open("rb") as stream:
                rows = list(read_rows(stream, str(path)))
            if not rows:
                raise InputError(f"{path}: holds no rows; a task needs at least one")
            if note := replaced_note(sum(row.replaced for row in rows), sum(row.replaced > 0 for row in rows)):
                print(f"note: {path}: {note}", file=sys.stderr)
            self._rows[path] = [row.row for row in rows]
            self.used[path.name] = sha256_file(path)
        return self._rows[path]

    def names(self) -> list[str]:
        """Tasks whose rows lie here, as far as file names tell."""
        pattern = re.compile(r"(.+)_[^_.]+\.jsonl(\.gz)?")
        return sorted({m[1] for path in self.path.iterdir() if (m := pattern.fullmatch(path.name))})


def check_choice_rows(path: Path, rows: Sequence[Row]) -> None:
    """Check rows of the shape {"context", "choices", "label"}.

    Raises:
        InputError: names the row and what is wrong.
    """
    for number, row in enumerate(rows, start=1):
        context, choices, label = row.get("context"), row.get("choices"), row.get("label")
        where = f"{path}: row {number}"
        if not isinstance(context, str) or not context.strip():
            raise InputError(f"{where} has the context {context!r}; it must be a text")
        if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
            raise InputError(f"{where} has the choices {choices!r}; there must be at least two texts")
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(choices):
            raise InputError(f"{where} has the label {label!r}; it must be a choice, 0 to {len(choices) - 1}")
