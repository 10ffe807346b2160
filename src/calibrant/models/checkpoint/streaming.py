"""A model whose weights are read from the safetensors shards part by part, so that it never lies whole in memory."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from safetensors import safe_open
from torch import Tensor, nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import convert_and_load_state_dict_in_model
from transformers.modeling_utils import LoadStateDictConfig

from calibrant.errors import InputError
from calibrant.models.checkpoint.blueprint import build, building, quantised
from calibrant.models.checkpoint.checkpoint import Checkpoint
from calibrant.models.checkpoint.kept import kept_with
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
        if quantised(checkpoint.config):
            raise InputError(
                f"model {checkpoint.path}: its weights are quantised; prune the model before quantising it"
            )
        checkpoint.check_weights()
        self.shards = {key: tensor.file for key, tensor in checkpoint.tensors.items()}  # of every checkpoint key
        if dtype == torch.float16 != checkpoint.dtype:
            checkpoint.check_numbers(dtype)
        kept = kept_with(checkpoint)
        taken = None if kept is None else kept.empty.pop(dtype, None)
        self.model: Any = build_empty(checkpoint, dtype) if taken is None else taken
        self.attention = use_attention(self.model, device, dtype, attention)
        laid_out = choose_products(device, dtype, products) == "packed"
        self._laid_out = lay_out(self.model) if laid_out else []
        self.products = "packed" if self._laid_out else "plain"
        self.model.eval().requires_grad_(False)
        self.model.tie_weights()
        self.conversions = get_model_conversion_mapping(self.model)  # slow to make
        self.places = KeyMap(self.model, self.conversions).places(self.shards)
        self.sources: dict[str, list[str]] = {}  # parameter -> the checkpoint keys that make it
        for key, place in self.places.items():
            self.sources.setdefault(place.parameter, []).append(key)
        self._called: dict[str, Any] = {}  # key -> what it is given as, where that is not its name
        self._share_tied()
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

    def _share_tied(self) -> None:
        """Of tied parameters a checkpoint may hold any one; it is read as the one that the model computes with."""
        for target, source in dict(getattr(self.model, "all_tied_weights_keys", None) or {}).items():
            if source not in self.sources and target in self.sources:
                self.sources[source] = self.sources.pop(target)
                self._called |= dict.fromkeys(self.sources[source], source)

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
            _convert(
                self.checkpoint.path,
                self.model,
                {self._called.get(key, key): tensor for key, tensor in tensors.items()},
                config,
            )
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
        """Nothing is made up at random: transformers may initialise what a model's class allows to be missing."""
        tied = set(getattr(self.model, "all_tied_weights_keys", {}) or {})
        missing = sorted({name for name, _ in self.model.named_parameters()} - set(self.sources) - tied)
        if missing and not any(place.splits for place in self.places.values()):
            raise InputError(
                f"model {self.checkpoint.path}: {len(missing)} weights are missing, the first is {missing[0]}"
            )


def build_empty(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """The model with its buffers, and with parameters on the meta device.

    Raises:
        InputError: transformers cannot build it.
    """
    with building(checkpoint.path), init_empty_weights(include_buffers=False):
        # eager experts: each expert's projection is one call of F.linear, which can be watched
        return build(checkpoint.config, dtype, experts_implementation="eager")


def _convert(path: Path, model: Any, tensors: dict[str, Any], config: LoadStateDictConfig) -> None:
    with building(path):
        info, _ = convert_and_load_state_dict_in_model(model, tensors, config)
    if info.mismatched_keys:
        name, found, expected = sorted(info.mismatched_keys)[0]
        raise InputError(f"model {path}: weight {name} has shape {list(found)}; its config asks for {list(expected)}")
    if info.conversion_errors:
        name, reason = sorted(info.conversion_errors.items())[0]
        raise InputError(f"model {path}: weight {name} cannot be converted ({reason})")
