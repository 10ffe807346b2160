"""Work in progress: finished layers and activations beside the output, so that a killed run goes on where it was."""

import shutil
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from calibrant.artefacts.atomic import prepare_parent, read_json, write_json
from calibrant.artefacts.digest import sha256_json
from calibrant.artefacts.tensor_files import write_tensors

SAVE_EVERY = 10.0  # seconds between copies of the activations; the layers since the last copy are only run forward


class Partial:
    """The folder `<output>.partial/` of one run, keyed by a hash of its inputs and settings.

    Work of another key is thrown away: it belongs to another run.
    """

    def __init__(self, output: str | Path, inputs: dict[str, Any]) -> None:
        output = Path(output)
        self.folder = output.with_name(output.name + ".partial")
        prepare_parent(output)
        key = {"key": sha256_json(inputs)}
        marker = self.folder / "key.json"
        if self.folder.exists() and not (marker.exists() and read_json(marker) == key):
            shutil.rmtree(self.folder)
        if not marker.exists():
            write_json(marker, key)
        self._saved = time.monotonic()

    def layer_file(self, index: int) -> Path:
        """Packed masks of a finished layer; updated weights lie beside it."""
        return self.folder / f"layer-{index:04d}.safetensors"

    def allocation_file(self) -> Path:
        """What the allocation saw in each layer."""
        return self.folder / "allocation.json"

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

    def remove(self) -> None:
        """Drop the folder once the output is complete."""
        shutil.rmtree(self.folder)

    def _hidden_file(self, index: int) -> Path:
        return self.folder / f"hidden-{index:04d}.safetensors"
