"""A model whose weights are read from the safetensors shards part by part, so that it never lies whole in memory."""

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import convert_and_load_state_dict_in_model
from transformers.modeling_utils import LoadStateDictConfig
from transformers.utils import logging as transformers_logging

from calibrant.errors import InputError
from calibrant.models.attention import use_attention
from calibrant.models.keys import KeyMap
from calibrant.models.load import load_config, require_causal_head, weight_files


class StreamedModel:
    """A causal language model with its weights on disk.

    `model` has every module and buffer; its parameters are on the meta device until `load` reads them and
    after `release` drops them. Names and layouts are converted by transformers' own loading code, so a
    streamed parameter equals what `from_pretrained` gives.
    """

    def __init__(self, path: str | Path, dtype: torch.dtype, device: torch.device, attention: str = "auto") -> None:
        """Open a model directory without reading weights; `attention` as for `devices.choose_attention`.

        Raises:
            InputError: not a causal language model in safetensors, or parameters are missing from the shards.
        """
        self.path = Path(path)
        self.dtype = dtype
        self.device = device
        config = load_config(path)
        require_causal_head(self.path, config)
        try:
            with init_empty_weights(include_buffers=False):
                # eager experts: each expert's projection is one call of F.linear, which can be watched
                self.model: Any = AutoModelForCausalLM.from_config(
                    config, dtype=dtype, trust_remote_code=False, experts_implementation="eager"
                )
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"model {path}: cannot be loaded as a causal language model ({reason})") from error
        self.attention = use_attention(self.model, device, dtype, attention)
        self.model.eval().requires_grad_(False)
        self.model.tie_weights()
        self.shards = _shard_of_each_key(self.path)
        self.places = KeyMap(self.model).places(self.shards)
        self.sources: dict[str, list[str]] = {}  # parameter -> the checkpoint keys that make it
        for key, place in self.places.items():
            self.sources.setdefault(place.parameter, []).append(key)
        self._check_complete()

    def load(self, prefix: str) -> None:
        """Read the parameters and saved buffers whose names start with `prefix` onto the device, in the dtype."""
        keys = [key for target, found in self.sources.items() if target.startswith(prefix) for key in found]
        with ExitStack() as stack:
            files = {
                shard: stack.enter_context(safe_open(shard, framework="pt"))
                for shard in {self.shards[key] for key in keys}
            }
            tensors = {key: files[self.shards[key]].get_slice(key) for key in keys}
            config = LoadStateDictConfig(
                dtype=self.dtype,
                dtype_plan=self.model._get_dtype_plan(self.dtype),
                device_map={"": self.device},
                weight_mapping=get_model_conversion_mapping(self.model),
            )
            _convert(self.model, tensors, config)
        for name, buffer in self.model.named_buffers():
            if name.startswith(prefix) and buffer.device != self.device:
                owner, _, leaf = name.rpartition(".")
                self.model.get_submodule(owner)._buffers[leaf] = buffer.to(self.device)
        self.model.eval().requires_grad_(False)

    def release(self, prefix: str) -> None:
        """Drop the parameters whose names start with `prefix`; buffers stay."""
        for name, parameter in self.model.named_parameters():
            if name.startswith(prefix) and not parameter.is_meta:
                owner, _, leaf = name.rpartition(".")
                empty = nn.Parameter(parameter.to("meta"), requires_grad=False)
                self.model.get_submodule(owner)._parameters[leaf] = empty

    def _check_complete(self) -> None:
        """A converter that splits a key fills several parameters, of which only the first is known by name."""
        tied = set(getattr(self.model, "all_tied_weights_keys", {}) or {})
        missing = sorted({name for name, _ in self.model.named_parameters()} - set(self.sources) - tied)
        splits = any(
            len(getattr(entry, "target_patterns", ())) > 1 for entry in get_model_conversion_mapping(self.model)
        )
        if missing and not splits:
            raise InputError(f"model {self.path}: {len(missing)} weights are missing, the first is {missing[0]}")


def _shard_of_each_key(path: Path) -> dict[str, Path]:
    """Checkpoint key -> the shard that holds it, from the shards' headers."""
    shards: dict[str, Path] = {}
    for file in weight_files(path):
        with safe_open(file, framework="pt") as shard:
            shards.update(dict.fromkeys(shard.keys(), file))
    return dict(sorted(shards.items()))


def _convert(model: Any, tensors: dict[str, Any], config: LoadStateDictConfig) -> None:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            info, _ = convert_and_load_state_dict_in_model(model, tensors, config)
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
    if info.mismatched_keys:
        name, found, expected = sorted(info.mismatched_keys)[0]
        raise InputError(f"model: {name} is {list(found)} in the checkpoint, {list(expected)} by its config.json")
    if info.conversion_errors:
        name, reason = sorted(info.conversion_errors.items())[0]
        raise InputError(f"model: {name} cannot be converted from the checkpoint ({reason})")
