"""One decoding step of any transformers causal language model, with its own key-value cache."""

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn

from calibrant.errors import InputError, reason_of

CACHES = ("past_key_values", "cache_params")  # what a model calls the cache that it is given


class TransformersStepper:
    """Steps a fixed group of rows: rows may leave, none can enter before all have left."""

    can_enter = False

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.device: torch.device = next(model.parameters()).device
        self.cache: Any = None
        taken = inspect.signature(self.model.forward).parameters
        self._cache_name = next((name for name in CACHES if name in taken), "")
        if not self._cache_name:
            raise _unsteppable(self.model, "it takes no cache that generation could go on from")

    def reset(self, rows: int, length: int) -> None:
        """Forget every row."""
        self.cache = None

    def prefill(self, ids: Tensor) -> Tensor:
        """Read prefixes [rows, t]; the logits of the next token [rows, vocabulary]."""
        from transformers import DynamicCache

        self.cache = DynamicCache(config=self.model.config)
        return self._forward(ids)

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each row [rows]; the logits of the next [rows, vocabulary]."""
        return self._forward(tokens[:, None])

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows (int64 indices), in this order."""
        for layer in self.cache.layers:
            # Of layers with a state, transformers selects keys and values at most by the other name.
            recurrent = hasattr(layer, "recurrent_states")
            (layer.reorder_cache if recurrent else layer.batch_select_indices)(rows)

    def row_bytes(self, length: int) -> int:
        """Bytes of cache for one row; counted twice, because the cache is copied whenever it grows.

        Raises:
            InputError: a model that has no attention heads, and that cannot be stepped.
        """
        config = self.model.config.get_text_config()
        own = getattr(config, "num_attention_heads", None)
        if own is None:
            return 2 * self._measured(length)
        heads = getattr(config, "num_key_value_heads", None) or own
        width = getattr(config, "head_dim", None) or math.ceil(config.hidden_size / own)
        element: int = next(self.model.parameters()).element_size()
        return 2 * 2 * int(config.num_hidden_layers) * int(heads) * int(width) * length * element

    @torch.inference_mode()
    def _measured(self, length: int) -> int:
        """Bytes of cache for one row, by a row of one token that becomes two: a state stays as large as it is."""
        token = torch.zeros(1, dtype=torch.int64, device=self.device)
        try:
            self.prefill(token[:, None])
            first = _bytes(self.cache)
            self.step(token)
        except Exception as error:  # a kind of model that keeps its state in another way
            raise _unsteppable(self.model, reason_of(error)) from error
        grown = _bytes(self.cache) - first
        self.cache = None
        return first + grown * (length - 1)

    def _forward(self, ids: Tensor) -> Tensor:
        given = {self._cache_name: self.cache}
        output = self.model(ids, **given, use_cache=True, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1]
        return logits


def _unsteppable(model: Any, why: str) -> InputError:
    return InputError(f"generate: a model of type {model.config.model_type} cannot be read token by token ({why})")


def _bytes(cache: Any) -> int:
    """Bytes of every tensor in a cache of transformers, also of those in mappings by number."""
    held = [value for layer in cache.layers for value in vars(layer).values()]
    held += [inner for value in held if isinstance(value, dict) for inner in value.values()]
    return sum(value.numel() * value.element_size() for value in held if isinstance(value, Tensor))
