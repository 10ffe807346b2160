"""The interface of generation engines and their registry.

An engine turns prompts into finished rows. Two of them step a model token by token under our own sampler (`loop.py`):
`native`, a fast decoder for Llama-architecture models, and `transformers`, for any causal language model. An engine
that samples by itself (a server, vLLM) only has to implement `Engine`.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from calibrant.errors import InputError
from calibrant.synthesis.settings import Generated, Prompt, Settings, Vocabulary

Progress = Callable[[int], None]  # told the number of tokens just drawn


class Engine(Protocol):
    """Writes rows."""

    name: str

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: Settings,
        vocabulary: Vocabulary,
        batch_size: int,
        progress: Progress,
    ) -> Iterator[Generated]:
        """Finish every prompt, in any order; at most `batch_size` rows are written at a time."""
        ...

    def row_bytes(self, length: int) -> int:
        """Bytes of key-value cache that one row of `length` tokens needs."""
        ...


def _native(model: nn.Module) -> Engine:
    from calibrant.synthesis.loop import LoopEngine
    from calibrant.synthesis.native import NativeLlama

    return LoopEngine("native", NativeLlama.from_transformers(model))


def _transformers(model: nn.Module) -> Engine:
    from calibrant.synthesis.hf import TransformersStepper
    from calibrant.synthesis.loop import LoopEngine

    return LoopEngine("transformers", TransformersStepper(model))


ENGINES: dict[str, Callable[[nn.Module], Engine]] = {"native": _native, "transformers": _transformers}


def make_engine(name: str, model: nn.Module, config: Any, where: str | Path = "model") -> Engine:
    """The engine called `name` over a loaded model; `auto` is `native` where it is exact, else `transformers`.

    The model is handed over: `native` fuses its weights and the model must not be used afterwards.

    Raises:
        InputError: unknown engine, or `native` for an architecture that it does not compute exactly.
    """
    from calibrant.synthesis.native import unsupported

    if name != "auto" and name not in ENGINES:
        raise InputError(f"--engine {name}: unknown; use auto, {', '.join(ENGINES)}")
    reason = unsupported(config)
    if name == "native" and reason:
        raise InputError(f"--engine native: {where} is not supported ({reason}); use auto or transformers")
    if name == "auto":
        name = "transformers" if reason else "native"
    return ENGINES[name](model)
