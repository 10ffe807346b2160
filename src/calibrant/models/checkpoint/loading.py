"""Load a model and its tokenizer into memory. Nothing here runs code that came with a model."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.checkpoint.checkpoint_config import register_openlm_for, require_causal_head
from calibrant.models.checkpoint.checkpoint_files import first_line, tokenizer_sha256, weight_files
from calibrant.models.compute.device_check import prefer_apple_gpu
from calibrant.models.compute.devices import choose_device
from calibrant.models.compute.number_formats import choose_number_format

log = logging.getLogger(__name__)


def load_tokenizer(path: str | Path) -> Any:
    """The fast tokenizer of a model directory.

    Raises:
        InputError: there is no usable tokenizer.
    """
    from transformers import AutoTokenizer

    tokenizer_sha256(path)
    register_openlm_for(path)
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:
        raise InputError(f"model {path}: its tokenizer cannot be loaded ({first_line(error)})") from error


def load_model(model: str | Path | Checkpoint, *, dtype: str = "auto", device: str = "auto") -> nn.Module:
    """Load a whole causal language model for inference: eval mode, no gradients, no remote code, no pickle.

    `dtype` and `device` as `number_formats.choose_number_format` and `devices.choose_device` take them.

    Raises:
        InputError: not a causal language model, or its weights are missing, incomplete, damaged or of other shapes.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    checkpoint = as_checkpoint(model)
    path = checkpoint.path
    require_causal_head(path, checkpoint.config)
    weight_files(path)
    target = choose_device(device)
    chosen = choose_number_format(dtype, checkpoint.dtype, target)
    chosen.say()
    try:
        with _quiet_transformers():
            network, info = AutoModelForCausalLM.from_pretrained(
                path,
                config=checkpoint.config,  # which it copies
                dtype=chosen.dtype,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
            )
    except (ValueError, OSError, SafetensorError) as error:
        raise InputError(f"model {path}: cannot be loaded as a causal language model ({first_line(error)})") from error
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise InputError(f"model {path}: weight {name} has shape {list(found)}; its config asks for {list(wanted)}")
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise InputError(f"model {path}: {len(missing)} weights are missing, the first is {missing[0]}")
    if info["unexpected_keys"]:
        unused = sorted(info["unexpected_keys"])
        log.warning("model %s: %d weights of the files are not used, the first is %s", path, len(unused), unused[0])
    network.eval().requires_grad_(False)
    loaded: nn.Module = network.to(target)
    return prefer_apple_gpu(loaded) if device == "auto" else loaded


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar and no report of transformers' own: what is wrong is said in one line by the caller."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
