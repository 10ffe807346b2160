"""Our decoder read token by token over a cache of keys and values, for generation, on CPU and GPU.

Weights are laid out once and the model's own let go of; the cache is allocated once and written in place
(`key_value_cache`); equal prefixes are computed once; the head is applied to last positions only.
"""

from typing import Any

import torch
from torch import Tensor

from calibrant.models.decoders.decoder import Decoder
from calibrant.models.decoders.key_value_cache import Cache
from calibrant.models.decoders.packed_attention import PackedAttention

PREFILL_TOKENS = 4096  # at most so many prefix tokens at once: bounds the memory of long prefixes


class _Entering:
    """Attention among the tokens of prefixes, whose keys and values go into the cache."""

    def __init__(self, packed: PackedAttention, cache: Cache, rows: Tensor, start: int, t: int) -> None:
        """`rows` [new] says which of the prefixes [distinct, t] each row of the cache from `start` on has."""
        self.packed, self.cache, self.rows, self.start, self.t = packed, cache, rows, start, t

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for which, states in enumerate((k, v)):
            prefixes = states.view(-1, self.t, *states.shape[1:]).transpose(1, 2)
            self.cache.both[layer][which, self.start : self.start + len(self.rows), :, : self.t] = prefixes[self.rows]
        return self.packed(layer, q, k, v)


class _Stepping:
    """Attention of one new token a row over its earlier ones; its key and value go into the cache first."""

    def __init__(self, stepper: "SteppingDecoder") -> None:
        assert stepper.cache is not None
        self.cache, self.rules = stepper.cache, stepper.decoder.rules
        self.rows, self.longest, self.lengths = len(stepper.lengths), stepper.longest, stepper.lengths
        self.index = torch.arange(self.rows, device=stepper.device) if stepper.ragged else None
        end = self.longest + 1
        self.masks = {
            window: self.cache.mask(self.lengths, end, stepper.ragged, window)
            for window in {rule.window for rule in self.rules}
        }

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for which, states in enumerate((k, v)):
            if self.index is None:
                self.cache.both[layer][which, : self.rows, :, self.longest] = states
            else:
                self.cache.both[layer][which, self.index, :, self.lengths] = states
        rule = self.rules[layer]
        return self.cache.attend(layer, q, self.longest + 1, self.masks[rule.window], rule)


class SteppingDecoder:
    """Steps rows that may stand at different positions; rows leave and enter at any step."""

    can_enter = True

    def __init__(self, decoder: Decoder) -> None:
        """Take over the weights of a decoder, whose model cannot be used afterwards."""
        decoder.take_over()
        self.decoder = decoder
        self.device = decoder.device
        self.cache: Cache | None = None
        self._set_lengths([])

    @classmethod
    def from_transformers(cls, model: Any) -> "SteppingDecoder":
        """Take over the weights of a loaded model, which cannot be used afterwards.

        Raises:
            UnlikeError: no declaration covers it.
        """
        return cls(Decoder(model, pack=False))

    def row_bytes(self, length: int) -> int:
        """Bytes of key-value cache for one row, with the room of one layer in which rows are spread out."""
        plan = self.decoder.plan
        size: int = self.decoder.dtype.itemsize
        return 2 * (len(plan.layers) + 1) * plan.kv_heads * plan.width * length * size

    def reset(self, rows: int, length: int) -> None:
        """Allocate the cache for `rows` rows of `length` tokens; forget every row."""
        cache, plan = self.cache, self.decoder.plan
        if cache is None or cache.rows != rows or cache.length != length:
            self.cache = None  # freed before the new one is allocated
            del cache
            dtype = self.decoder.dtype
            self.cache = Cache(len(plan.layers), rows, plan.kv_heads, length, plan.width, dtype, self.device)
        else:
            cache.forget()
        self.decoder.rotary.reserve(length)
        self._set_lengths([])

    @torch.no_grad()
    def prefill(self, ids: Tensor) -> Tensor:
        """Enter rows with prefixes [new, t]; the logits of their next token [new, vocabulary]."""
        new, t = ids.shape
        start = len(self.on_host)
        chunk = max(1, PREFILL_TOKENS // t)
        logits = [self._prefill(ids[i : i + chunk], start + i) for i in range(0, new, chunk)]
        self._set_lengths(self.on_host + [t] * new)
        return torch.cat(logits)

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each row [rows]; the logits of the next [rows, vocabulary]."""
        assert self.cache is not None
        self.cache.reserve(self.longest + 1)
        hidden = self.decoder(tokens, self.lengths, _Stepping(self))
        self._set_lengths([length + 1 for length in self.on_host])
        return self.decoder.head(hidden)

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows (int64 indices, ascending)."""
        assert self.cache is not None
        self.cache.keep(rows, self.longest)
        self._set_lengths([self.on_host[i] for i in rows.tolist()])

    def _set_lengths(self, lengths: list[int]) -> None:
        self.on_host = lengths  # which length is the longest is asked at every step: a GPU would make us wait
        self.lengths = torch.tensor(lengths, dtype=torch.int64, device=self.device)
        self.longest = max(lengths, default=0)
        self.ragged = self.longest != min(lengths, default=0)

    def _prefill(self, ids: Tensor, start: int) -> Tensor:
        assert self.cache is not None
        distinct, rows = torch.unique(ids, dim=0, return_inverse=True)
        count, t = distinct.shape
        self.cache.reserve(t)
        attention = _Entering(self.decoder.attention([t] * count), self.cache, rows, start, t)
        positions = torch.arange(t, device=self.device).repeat(count)
        last = torch.arange(t - 1, count * t, t, device=self.device)
        hidden = self.decoder(distinct.flatten(), positions, attention, last)
        return self.decoder.head(hidden)[rows]
