"""Work of an unfinished run beside its output, so that a killed run goes on where it was."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import prepare_parent, read_json, write_json
from calibrant.artefacts.digest import sha256_json
from calibrant.errors import InputError

KEY = "key.json"


class Unfinished:
    """The folder `<output>.partial/` of one run; its `key.json` has a hash of everything that decides the output.

    Work of another key is thrown away: it belongs to another run. The key goes first whenever the folder does, so that
    what a kill leaves of it is nobody's. Files inside are written atomically by those who know what they hold.
    """

    def __init__(self, output: str | Path, identity: Mapping[str, Any]) -> None:
        """Take up the work of a run that was killed, or begin.

        Raises:
            InputError: the folder cannot be created.
        """
        output = Path(output)
        self.folder = output.with_name(output.name + ".partial")
        prepare_parent(output)
        key = {"key": sha256_json(identity)}
        if not self._has(key):
            if self.folder.is_dir():
                self.file(KEY).unlink(missing_ok=True)
                shutil.rmtree(self.folder)
            write_json(self.file(KEY), key)

    def file(self, name: str) -> Path:
        """Where a file of this name lies, whether it is there or not."""
        return self.folder / name

    def remove(self) -> None:
        """Drop the folder once the output is complete; what cannot be dropped belongs to no run any more."""
        self.file(KEY).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has(self, key: Mapping[str, str]) -> bool:
        try:
            return bool(read_json(self.file(KEY)) == key)
        except InputError:
            return False
