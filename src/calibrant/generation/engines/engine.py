"""The interface of generation engines and their registry.

An engine turns prompts into finished rows. Two of them step a model token by token under our own sampler (`loop.py`):
`native`, a fast decoder for Llama-architecture models, and `transformers`, for any causal language model. An engine
that samples by itself only has to implement `Engine`, as `vllm` does.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from calibrant.errors import InputError
from calibrant.generation.generated_rows import Generated, Prompt, Settings, Vocabulary

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

    def knows_ends(self, settings: Settings) -> bool:
        """Whether the rows' `first_end` is known under these settings."""
        ...


def _native(model: nn.Module) -> Engine:
    from calibrant.generation.engines.stepping_engine import LoopEngine
    from calibrant.models.decoders.stepping_llama import NativeLlama

    return LoopEngine("native", NativeLlama.from_transformers(model))


def _transformers(model: nn.Module) -> Engine:
    from calibrant.generation.engines.stepping_engine import LoopEngine
    from calibrant.generation.engines.transformers_stepper import TransformersStepper

    return LoopEngine("transformers", TransformersStepper(model))


ENGINES: dict[str, Callable[[nn.Module], Engine]] = {"native": _native, "transformers": _transformers}


def engine_name(name: str, config: Any, where: str | Path = "model") -> str:
    """The engine meant by `name`: `auto` is `native` where it is exact, else `transformers`.

    Raises:
        InputError: unknown engine, `native` for an architecture that it does not compute exactly, or `vllm` where that
            package is not installed.
    """
    from calibrant.generation.engines.vllm_engine import installed
    from calibrant.models.decoders.llama_likeness import unlike_llama

    if name not in ("auto", "vllm", *ENGINES):
        raise InputError(f"--engine {name}: unknown; use auto, {', '.join(ENGINES)} or vllm")
    if name == "vllm" and not installed():
        raise InputError(
            "--engine vllm: the package vllm is not installed here; install it beside Calibrant on a machine with "
            "GPUs (pip install vllm), or use auto"
        )
    reason = unlike_llama(config)
    if name == "native" and reason:
        raise InputError(f"--engine native: {where} is not supported ({reason}); use auto or transformers")
    if name == "auto":
        return "transformers" if reason else "native"
    return name


def make_engine(name: str, model: nn.Module, config: Any, where: str | Path = "model") -> Engine:
    """The engine called `name` over a loaded model.

    The model is handed over: `native` fuses its weights and the model must not be used afterwards. `vllm` loads models
    by itself: make a `vllm.VllmEngine`.

    Raises:
        InputError: as `engine_name`.
    """
    chosen = engine_name(name, config, where)
    if chosen not in ENGINES:
        raise InputError(f"--engine {chosen}: loads its model by itself and cannot take over a loaded one")
    return ENGINES[chosen](model)
