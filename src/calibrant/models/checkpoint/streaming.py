"""A model whose weights are read from the safetensors shards part by part, so that it never lies whole in memory."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import convert_and_load_state_dict_in_model
from transformers.modeling_utils import LoadStateDictConfig
from transformers.utils import logging as transformers_logging

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import Checkpoint
from calibrant.models.checkpoint.checkpoint_config import require_causal_head
from calibrant.models.checkpoint.key_map import KeyMap
from calibrant.models.compute.devices import choose_products, on_gpu, pins
from calibrant.models.decoders.attention_interface import use_attention
from calibrant.models.decoders.laid_out_linear import lay_out


class StreamedModel:
    """A causal language model with its weights on disk.

    `model` has every module and buffer; its parameters are on the meta device until `load` reads them and
    after `release` drops them. Names and layouts are converted by transformers' own loading code, so a
    streamed parameter equals what `from_pretrained` gives.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        device: torch.device,
        attention: str = "auto",
        read_ahead: bool | None = None,
        products: str = "auto",
    ) -> None:
        """Open a model without reading weights; `attention` and `products` as `devices` chooses them.

        `read_ahead` is whether `prefetch` does anything; None for a GPU only. A CPU has nothing to gain: its
        system reads files ahead by itself, and a second layer in memory would raise the peak.

        Raises:
            InputError: not a causal language model in safetensors, or parameters are missing from the shards.
        """
        self.checkpoint = checkpoint
        self.dtype = dtype
        self.device = device
        require_causal_head(checkpoint.path, checkpoint.config)
        config = copy.deepcopy(checkpoint.config)  # transformers writes the number format into it
        try:
            with init_empty_weights(include_buffers=False):
                # eager experts: each expert's projection is one call of F.linear, which can be watched
                self.model: Any = AutoModelForCausalLM.from_config(
                    config, dtype=dtype, trust_remote_code=False, experts_implementation="eager"
                )
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"model {checkpoint.path}: cannot be loaded as a causal language model ({reason})"
            ) from error
        self.attention = use_attention(self.model, device, dtype, attention)
        laid_out = choose_products(device, dtype, products) == "packed"
        self._laid_out = lay_out(self.model) if laid_out else []
        self.products = "packed" if self._laid_out else "plain"
        self.model.eval().requires_grad_(False)
        self.model.tie_weights()
        self.shards = _shard_of_each_key(checkpoint.weight_files)
        self.conversions = get_model_conversion_mapping(self.model)  # slow to make
        self.places = KeyMap(self.model, self.conversions).places(self.shards)
        self.sources: dict[str, list[str]] = {}  # parameter -> the checkpoint keys that make it
        for key, place in self.places.items():
            self.sources.setdefault(place.parameter, []).append(key)
        self.read_ahead = on_gpu(device) if read_ahead is None else read_ahead
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
        self._ahead: tuple[str, Future[dict[str, Tensor]]] | None = None
        self._check_complete()

    def prefetch(self, prefix: str) -> None:
        """Begin to read what `load(prefix)` will want, while this thread goes on; one prefix at a time.

        The tensors wait in host memory, pinned for a GPU, which then copies them without a detour. What goes
        wrong is raised by that `load`.
        """
        if self.read_ahead:
            self._ahead = (prefix, self._reader.submit(self._read, self._keys(prefix)))

    def _keys(self, prefix: str) -> list[str]:
        return [key for target, found in self.sources.items() if target.startswith(prefix) for key in found]

    def _open(self, keys: list[str], stack: ExitStack) -> dict[Path, Any]:
        shards = {self.shards[key] for key in keys}
        return {shard: stack.enter_context(safe_open(shard, framework="pt")) for shard in shards}

    def _read(self, keys: list[str]) -> dict[str, Tensor]:
        with ExitStack() as stack:
            files = self._open(keys, stack)
            tensors = {key: files[self.shards[key]].get_tensor(key) for key in keys}
        return {key: tensor.pin_memory() for key, tensor in tensors.items()} if pins(self.device) else tensors

    def load(self, prefix: str) -> None:
        """Read the parameters and saved buffers whose names start with `prefix` onto the device, in the dtype."""
        keys = self._keys(prefix)
        with ExitStack() as stack:
            tensors: Mapping[str, Any]
            if self._ahead and self._ahead[0] == prefix:
                tensors, self._ahead = self._ahead[1].result(), None
            else:
                files = self._open(keys, stack)
                tensors = {key: files[self.shards[key]].get_slice(key) for key in keys}
            config = LoadStateDictConfig(
                dtype=self.dtype,
                dtype_plan=self.model._get_dtype_plan(self.dtype),
                device_map={"": self.device},
                weight_mapping=self.conversions,
            )
            _convert(self.model, dict(tensors), config)
        for name, buffer in self.model.named_buffers():
            if name.startswith(prefix) and buffer.device != self.device:
                owner, _, leaf = name.rpartition(".")
                self.model.get_submodule(owner)._buffers[leaf] = buffer.to(self.device)
        self.model.eval().requires_grad_(False)

    def release(self, prefix: str) -> None:
        """Drop the parameters whose names start with `prefix`; buffers stay."""
        for forward in self._laid_out:
            forward.forget()
        for name, parameter in self.model.named_parameters():
            if name.startswith(prefix) and not parameter.is_meta:
                owner, _, leaf = name.rpartition(".")
                empty = nn.Parameter(parameter.to("meta"), requires_grad=False)
                self.model.get_submodule(owner)._parameters[leaf] = empty

    def _check_complete(self) -> None:
        """A converter that splits a key fills several parameters, of which only the first is known by name."""
        tied = set(getattr(self.model, "all_tied_weights_keys", {}) or {})
        missing = sorted({name for name, _ in self.model.named_parameters()} - set(self.sources) - tied)
        splits = any(len(getattr(entry, "target_patterns", ())) > 1 for entry in self.conversions)
        if missing and not splits:
            raise InputError(
                f"model {self.checkpoint.path}: {len(missing)} weights are missing, the first is {missing[0]}"
            )


def _shard_of_each_key(files: Sequence[Path]) -> dict[str, Path]:
    """Checkpoint key -> the shard that holds it, from the shards' headers."""
    shards: dict[str, Path] = {}
    for file in files:
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
