"""Which engine writes the rows: by name, or what is exact and fastest for the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from calibrant.errors import InputError
from calibrant.generation.engine import Engine
from calibrant.models.checkpoint.checkpoint import Checkpoint
from calibrant.models.compute.devices import choose_device, free_bytes, on_gpu
from calibrant.settings.text_settings import GenerateSettings

if TYPE_CHECKING:
    from calibrant.models.decoders.decoder import Decoder

CPU_CACHE_BYTES = 2 << 30
MAXIMUM_BATCH, MAXIMUM_BATCH_GPU = 64, 256


def _native(decoder: "Decoder") -> Engine:
    from calibrant.generation.engines.stepping_engine import SteppingEngine
    from calibrant.models.decoders.stepping_decoder import SteppingDecoder

    return SteppingEngine("native", SteppingDecoder(decoder))


def _transformers(model: nn.Module) -> Engine:
    from calibrant.generation.engines.stepping_engine import SteppingEngine
    from calibrant.generation.engines.transformers_stepper import TransformersStepper

    return SteppingEngine("transformers", TransformersStepper(model))


ENGINES = ("native", "transformers")


def engine_name(name: str, config: Any, where: str | Path = "model", length: int = 0) -> str:
    """The engine meant by `name` for rows of so many tokens: `auto` is `native` where it is exact, else `transformers`.

    Raises:
        InputError: unknown engine, `native` for an architecture that it does not compute exactly, or `vllm` where that
            package is not installed.
    """
    from calibrant.generation.engines.vllm_engine import installed
    from calibrant.models.families.recognition import unlike

    if name not in ("auto", "vllm", *ENGINES):
        raise InputError(f"--engine {name}: unknown; use auto, {', '.join(ENGINES)} or vllm")
    if name == "vllm" and not installed():
        raise InputError(
            "--engine vllm: the package vllm is not installed here; install it beside Calibrant on a machine with "
            "GPUs (pip install vllm), or use auto"
        )
    reason = unlike(config, length)
    if name == "native" and reason:
        raise _unsupported(where, reason)
    if name == "auto":
        return "transformers" if reason else "native"
    return name


def make_engine(name: str, model: nn.Module, config: Any, where: str | Path = "model", length: int = 0) -> Engine:
    """The engine called `name` over a loaded model.

    The model is handed over: `native` takes its weights and the model must not be used afterwards. Where our own
    decoder does not run it after all, `auto` is `transformers`, and a line in the log says why. `vllm` loads models by
    itself: make a `vllm.VllmEngine`.

    Raises:
        InputError: as `engine_name`, or `native` for a model whose own logits differ from our decoder's.
    """
    from calibrant.models.decoders.decoder_choice import checked_decoder, say_slow
    from calibrant.models.families.recognition import unlike

    chosen = engine_name(name, config, where, length)
    if chosen not in ENGINES:
        raise InputError(f"--engine {chosen}: loads its model by itself and cannot take over a loaded one")
    if name == "transformers":
        return _transformers(model)
    decoder, reason = None, unlike(config, length) or ""
    if not reason:
        decoder, reason = checked_decoder(model, pack=False)
    if decoder is not None:
        return _native(decoder)
    if name == "native":
        raise _unsupported(where, reason)
    say_slow(model, reason)
    return _transformers(model)


def _unsupported(where: str | Path, reason: str) -> InputError:
    return InputError(f"--engine native: {where} is not supported ({reason}); use auto or transformers")


def open_engine(checkpoint: Checkpoint, settings: GenerateSettings, total: int) -> tuple[Engine, str]:
    """The engine that settings ask for over a checkpoint, and the number format that it computes in.

    Args:
        checkpoint: the model.
        settings: engine, number format, device, and what vLLM wants to know.
        total: tokens of the longest row.

    Raises:
        InputError: as `engine_name`, or a model that cannot be loaded.
    """
    from calibrant.models.checkpoint.loading import load_model
    from calibrant.models.compute.number_formats import choose_number_format, dtype_name

    if engine_name(settings.engine, checkpoint.config, checkpoint.path, total) == "vllm":
        from calibrant.generation.engines.vllm_engine import VllmEngine

        chosen = choose_number_format(settings.dtype, checkpoint.dtype, choose_device(settings.device))
        chosen.say()
        dtype = dtype_name(chosen.dtype)
        parallel = settings.tensor_parallel
        return VllmEngine(checkpoint.path, checkpoint.config, dtype, total, parallel, settings.seed), dtype
    model = load_model(checkpoint, dtype=settings.dtype, device=settings.device)
    dtype = dtype_name(next(model.parameters()).dtype)
    return make_engine(settings.engine, model, checkpoint.config, checkpoint.path, total), dtype


def choose_batch_size(engine: Engine, length: int, device: torch.device) -> int:
    """As many rows as the cache has room for (2 GiB of RAM, half of a GPU's free memory), at most 64 or 256."""
    room, most = (free_bytes(device) // 2, MAXIMUM_BATCH_GPU) if on_gpu(device) else (CPU_CACHE_BYTES, MAXIMUM_BATCH)
    return max(1, min(most, room // max(1, engine.row_bytes(length))))
