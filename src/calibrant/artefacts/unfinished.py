"""Work of an unfinished run beside its output, so that a killed run goes on where it was."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from calibrant.artefacts.atomic import prepare_parent, read_json, write_json
from calibrant.artefacts.digest import sha256_json
from calibrant.artefacts.temporary_names import TEMPORARY, lock, remove_dead, temporary_beside
from calibrant.errors import InputError, MachineError

KEY = "key.json"
# What runs keep there, as `pruning.run.partial`, `pruning.run.activations` and `generation.partial_rows` name it.
OURS = re.compile(
    rf"{re.escape(KEY)}|allocation\.json|(layer|hidden)-\d{{4}}(\.weights)?\.safetensors|wave-\d{{6}}\.json"
    rf"|activations-\d+\.bin|{re.escape(TEMPORARY)}.*"
)


def partial_folder(output: str | Path) -> Path:
    """Where the unfinished work of an output lies: `<output>.partial`."""
    output = Path(output)
    return output.with_name(output.name + ".partial")


def check_partial(output: str | Path) -> None:
    """Refuse what stands at the place of an output's unfinished work and is none.

    Raises:
        InputError: a file, a link, or a folder with files of somebody else's in it.
    """
    folder = partial_folder(output)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"{folder}: unfinished work is kept there, but it is no folder; move it or choose another output"
        )
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if foreign := [name for name in held if not OURS.fullmatch(name)]:
        raise InputError(
            f"{folder}: unfinished work goes there, but the folder holds {foreign[0]}, which is none; "
            "move it or choose another output"
        )


class Unfinished:
    """The folder `<output>.partial/` of one run; its `key.json` has a hash of everything that decides the output.

    Work of another key is thrown away: it belongs to another run. A folder that is thrown away is renamed first, so
    that what a kill leaves of it is no run's work, and the next run of that output removes it. Files inside are written
    atomically by those who know what they hold.
    """

    def __init__(self, output: str | Path, identity: Mapping[str, Any]) -> None:
        """Take up the work of a run that was killed, or begin.

        Raises:
            InputError: the folder cannot be created, or is somebody else's.
            MachineError: a living run is at work there.
        """
        self._output = output
        self._lock: int | None = None
        self.folder = partial_folder(output)
        prepare_parent(self.folder)
        remove_dead(self.folder)
        check_partial(output)
        key = {"key": sha256_json(identity)}
        if self.folder.is_dir():
            self._hold()
        if not self._has(key):
            self.remove()
            write_json(self.file(KEY), key)
        self._release()

    def __enter__(self) -> Self:
        """Work inside ends with this output, or is none: after an `InputError` the same run could only fail again.

        Raises:
            MachineError: a living run is at work there.
        """
        self._hold()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._release()
        if isinstance(error, InputError):
            self.remove()

    def _hold(self) -> None:
        self._lock = lock(self.folder)
        if self._lock is None:
            raise MachineError(f"output {self._output}: another run is writing it ({self.folder}); wait for its end")

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def file(self, name: str) -> Path:
        """Where a file of this name lies, whether it is there or not."""
        return self.folder / name

    def remove(self) -> None:
        """Drop the folder once the output is complete."""
        if self.folder.is_dir():
            dropped = temporary_beside(self.folder)
            self.folder.rename(dropped)
            shutil.rmtree(dropped, ignore_errors=True)

    def _has(self, key: Mapping[str, str]) -> bool:
        try:
            return bool(read_json(self.file(KEY)) == key)
        except InputError:
            return False
