"""Finished layers of an unfinished pruning run, and the activations that it goes on from."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from calibrant.artefacts.tensor_files import write_tensors
from calibrant.artefacts.unfinished import Unfinished
from calibrant.errors import InputError

SAVE_EVERY = 10.0  # seconds between copies of the activations; the layers since the last copy are only run forward


class Partial(Unfinished):
    """Layer files, what the allocation saw, and the inputs of one layer, in the folder of an unfinished run."""

    def __init__(self, output: str | Path, inputs: Mapping[str, Any]) -> None:
        """As `Unfinished`; `inputs` are those of the run and its settings."""
        super().__init__(output, inputs)
        self._saved = time.monotonic()

    @contextmanager
    def worth_keeping(self) -> Iterator[None]:
        """Drop the folder if the run is refused inside the context before a layer is finished."""
        try:
            yield
        except InputError:
            if not any(self.folder.glob("layer-*")):
                self.remove()
            raise

    def layer_file(self, index: int) -> Path:
        """Packed masks of a finished layer; updated weights lie beside it."""
        return self.file(f"layer-{index:04d}.safetensors")

    def allocation_file(self) -> Path:
        """What the allocation saw in each layer."""
        return self.file("allocation.json")

    def resume_point(self) -> int:
        """The last layer whose inputs were saved; 0 when none were."""
        saved = sorted(self.folder.glob("hidden-*.safetensors"))
        return int(saved[-1].stem.removeprefix("hidden-")) if saved else 0

    def load_hidden(self, index: int) -> Tensor:
        """The saved inputs of layer `index`, [sequences, tokens, width]."""
        hidden: Tensor = load_file(self._hidden_file(index))["hidden"]
        return hidden

    def save_hidden(self, index: int, hidden: Tensor) -> None:
        """Save the inputs of layer `index`, unless others were saved a moment ago; older ones are dropped."""
        if time.monotonic() - self._saved < SAVE_EVERY:
            return
        write_tensors(self._hidden_file(index), {"hidden": hidden}, {})
        for file in self.folder.glob("hidden-*.safetensors"):
            if file != self._hidden_file(index):
                file.unlink()
        self._saved = time.monotonic()

    def _hidden_file(self, index: int) -> Path:
        return self.file(f"hidden-{index:04d}.safetensors")
