"""One decoding step of any transformers causal language model, with its own key-value cache."""

import math
from typing import Any

import torch
from torch import Tensor, nn


class TransformersStepper:
    """Steps a fixed group of rows: rows may leave, none can enter before all have left."""

    can_enter = False

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.device: torch.device = next(model.parameters()).device
        self.cache: Any = None

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
        self.cache.batch_select_indices(rows)

    def row_bytes(self, length: int) -> int:
        """Bytes of cache for one row; counted twice, because the cache is copied whenever it grows."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or math.ceil(config.hidden_size / config.num_attention_heads)
        element: int = next(self.model.parameters()).element_size()
        return 2 * 2 * int(config.num_hidden_layers) * int(heads) * int(width) * length * element

    def _forward(self, ids: Tensor) -> Tensor:
        output = self.model(ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1]
        return logits
