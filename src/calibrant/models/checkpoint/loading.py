"""Load a model and its tokenizer into memory. Nothing here runs code that came with a model."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from calibrant.errors import InputError
from calibrant.models.checkpoint.blueprint import building
from calibrant.models.checkpoint.checkpoint import Checkpoint, as_checkpoint
from calibrant.models.checkpoint.checkpoint_config import register_openlm_for
from calibrant.models.checkpoint.checkpoint_files import tokenizer_sha256
from calibrant.models.checkpoint.kept import kept_with
from calibrant.models.checkpoint.language_part import check_text_alone, without_towers
from calibrant.models.checkpoint.library_calls import told_in_one_line
from calibrant.models.checkpoint.weight_headers import StoredTensor
from calibrant.models.compute.device_check import prefer_apple_gpu
from calibrant.models.compute.devices import choose_device
from calibrant.models.compute.number_formats import choose_number_format

log = logging.getLogger(__name__)


def load_tokenizer(model: str | Path | Checkpoint) -> Any:
    """The fast tokenizer of a model: a folder's as it is, a checkpoint's if the model knows its ids.

    Tokens that were added to a tokenizer may lie beyond the model's: text never gives them (`tokens.encode`).

    Raises:
        InputError: there is no usable tokenizer, or it is another model's.
    """
    from transformers import AutoTokenizer

    path = model.path if isinstance(model, Checkpoint) else Path(model)
    kept = kept_with(model) if isinstance(model, Checkpoint) else None
    if kept is not None and kept.tokenizer is not None:
        return kept.tokenizer
    tokenizer_sha256(path)
    register_openlm_for(path)
    with told_in_one_line(f"model {path}: its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        size = int(tokenizer.vocab_size)
    if isinstance(model, Checkpoint) and size > model.vocabulary:
        raise InputError(
            f"model {path}: its tokenizer has {size:,} ids, and the model knows {model.vocabulary:,}; it is another "
            "model's tokenizer"
        )
    return tokenizer


def load_model(model: str | Path | Checkpoint, *, dtype: str = "auto", device: str = "auto") -> nn.Module:
    """Load a whole causal language model for inference: eval mode, no gradients, no remote code, no pickle.

    `dtype` and `device` as `number_formats.choose_number_format` and `devices.choose_device` take them.

    Raises:
        InputError: not a causal language model, not one of text alone, or its weights are missing, incomplete, damaged
            or of other shapes.
    """
    checkpoint = as_checkpoint(model)
    checkpoint.check_weights()
    target = choose_device(device)
    chosen = choose_number_format(dtype, checkpoint.dtype, target)
    chosen.say()
    if chosen.dtype == torch.float16 != checkpoint.dtype:
        checkpoint.check_numbers(chosen.dtype)
    kept = kept_with(checkpoint) if target.type == "cpu" else None
    taken = None if kept is None else kept.networks.pop(chosen.dtype, None)
    loaded: nn.Module = (load_weights(checkpoint, chosen.dtype) if taken is None else taken).to(target)
    check_text_alone(checkpoint.path, loaded)
    return prefer_apple_gpu(loaded) if device == "auto" else loaded


def load_weights(checkpoint: Checkpoint, dtype: torch.dtype) -> nn.Module:
    """The whole model in a number format, on the CPU.

    Raises:
        InputError: as `load_model`.
    """
    path, config = checkpoint.path, checkpoint.config
    kind, aside = type(checkpoint.blueprint.model), checkpoint.blueprint.aside
    wanted = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in aside}
    with building(path), open_tensors(wanted) as tensors:
        # No path is given, so that transformers cannot read any other file than those that are the weights.
        network, info = without_towers(kind).from_pretrained(  # type: ignore[attr-defined]
            None,
            config=config if isinstance(config, kind.config_class) else config.get_text_config(),  # which it copies
            state_dict=tensors,
            dtype=dtype,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
        )
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise InputError(f"model {path}: weight {name} has shape {list(found)}; its config asks for {list(wanted)}")
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise InputError(f"model {path}: {len(missing)} weights are missing, the first is {missing[0]}")
    if info["unexpected_keys"]:
        unused = sorted(info["unexpected_keys"])
        log.warning("model %s: %d weights of the files are not used, the first is %s", path, len(unused), unused[0])
    loaded: nn.Module = network.eval().requires_grad_(False)
    return loaded


@contextlib.contextmanager
def open_tensors(stored: Mapping[str, StoredTensor]) -> Iterator[dict[str, Any]]:
    """Slices of tensors in files, by name, which are read when they are asked for inside the context."""
    with contextlib.ExitStack() as stack:
        files = {
            file: stack.enter_context(safe_open(file, framework="pt")) for file in {t.file for t in stored.values()}
        }
        yield {name: files[tensor.file].get_slice(name) for name, tensor in stored.items()}
