"""llm-compressor beside Calibrant: a process of its own environment, which is asked to compress a model."""

import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Compressor:
    """llm-compressor in a process of its own environment, which imports it once."""

    def __init__(self, python: str) -> None:
        script = str(Path(__file__).with_name("llmcompressor_oneshot.py"))
        self._process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = str(self._ask(None))  # its name and version, once it is ready

    def run(self, model: Path, ids: Tensor, folder: Path, dtype: str, **asked: Any) -> None:
        """Compress once, to what `llmcompressor_oneshot.recipe` is asked for; the time of this call is that of it."""
        file = folder / "ids.json"
        file.write_text(json.dumps(ids.tolist()))
        where = {"threads": torch.get_num_threads(), "dtype": dtype}
        self._ask({"model": str(model.resolve()), "ids": str(file), **where, **asked})

    def _ask(self, request: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        if request is not None:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("llm-compressor stopped; its message is above")
        return json.loads(answer)
