"""Finished layers of an unfinished pruning run, and the activations that it goes on from."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.artefacts.contents import sealed, unsealed
from calibrant.artefacts.metadata_forms import listed, number
from calibrant.artefacts.tensor_files import TensorFile, write_tensors
from calibrant.artefacts.unfinished import Unfinished
from calibrant.errors import InputError

SAVE_EVERY = 10.0  # seconds between copies of the activations; the layers since the last copy are only run forward
SAVE_SHARE = 0.1  # of a run's time that copies of large ones may take


class Partial(Unfinished):
    """Layer files, what the allocation saw, and the inputs of one layer, in the folder of an unfinished run."""

    def __init__(self, output: str | Path, inputs: Mapping[str, Any]) -> None:
        """As `Unfinished`; `inputs` are those of the run and its settings."""
        super().__init__(output, inputs)
        self._saved = time.monotonic()
        self._took = 0.0

    def layer_file(self, index: int) -> Path:
        """Packed masks of a finished layer; updated weights lie beside it."""
        return self.file(f"layer-{index:04d}.safetensors")

    def observations(self, layers: int) -> list[float] | None:
        """What the allocation saw in each layer; None when that is not there, or damaged."""
        file = self._allocation_file()
        try:
            found = unsealed(read_json(file), str(file)) if file.exists() else None
        except InputError:
            return None
        return found if listed(number(), layers)(found) is None else None

    def save_observations(self, seen: Sequence[float]) -> None:
        """Keep what the allocation saw in each layer."""
        write_json(self._allocation_file(), sealed(list(seen)))

    def resume_point(self, shape: Sequence[int], done: Sequence[bool]) -> tuple[int, Tensor | None]:
        """The last layer whose inputs were saved, with those; 0 and None when none were, or they are damaged.

        A layer before it that is not `done` has to be made again, for which the run begins anew.
        """
        saved = sorted(self.folder.glob("hidden-*.safetensors"))
        index = int(saved[-1].stem.removeprefix("hidden-")) if saved else 0
        if not index or not all(done[:index]):
            return 0, None
        try:
            hidden = TensorFile(saved[-1], "activations").get("hidden")
        except InputError:
            return 0, None
        return (index, hidden) if list(hidden.shape) == list(shape) else (0, None)

    def save_hidden(self, index: int, hidden: Tensor) -> None:
        """Save the inputs of layer `index`, unless others were saved a moment ago; older ones are dropped."""
        began = time.monotonic()
        if began - self._saved < max(SAVE_EVERY, self._took / SAVE_SHARE):
            return
        write_tensors(self._hidden_file(index), {"hidden": hidden}, {})
        for file in self.folder.glob("hidden-*.safetensors"):
            if file != self._hidden_file(index):
                file.unlink()
        self._saved = time.monotonic()
        self._took = self._saved - began

    def _allocation_file(self) -> Path:
        return self.file("allocation.json")

    def _hidden_file(self, index: int) -> Path:
        return self.file(f"hidden-{index:04d}.safetensors")
