"""The key-value cache of the native decoder, and one position's attention over it.

Query heads that share a key-value head attend as rows of one head, so that no key is repeated. In bfloat16 on a CPU,
PyTorch's attention kernel takes twice as long as two batched matrix products do, and those want keys that lie without
gaps: the memory for whole rows is reserved once, but at any time the rows fill only its beginning, with room for a
multiple of `BLOCK` positions each, and are spread out when they outgrow it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from calibrant.models.decoders.attention_rule import PLAIN, AttentionRule, additive, capped_attention, seen_keys

BLOCK = 32
SHORT = 256  # keys; for fewer, two products take half the time of PyTorch's kernel in float32 too


class Cache:
    """Keys and values of every layer for up to `rows` rows of `length` positions."""

    def __init__(
        self, layers: int, rows: int, heads: int, length: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.products = dtype == torch.bfloat16 and device.type == "cpu"
        self.rows, self.heads, self.width = rows, heads, width
        self.limit = -(-length // BLOCK) * BLOCK if self.products else length
        self.length = length
        size = 2 * rows * heads * self.limit * width
        # Zeros, not empty: masked positions are multiplied by probability zero, which a NaN would survive.
        self._memory = [torch.zeros(size, dtype=dtype, device=device) for _ in range(layers)]
        self._spare = torch.empty(size if self.products else 0, dtype=dtype, device=device)
        self.forget()

    def forget(self) -> None:
        """Forget every row."""
        self._lay_out(BLOCK if self.products else self.limit)

    def reserve(self, end: int) -> None:
        """Make room for positions before `end` in every row."""
        if end <= self.capacity:
            return
        before = self.both[0].shape
        old = self._spare[: before.numel()]
        self._lay_out(-(-end // BLOCK) * BLOCK)
        for part in self.both:
            old.copy_(part.view(-1)[: len(old)])
            part[:, :, :, : before[3]] = old.view(before)
            part[:, :, :, before[3] :] = 0

    def _lay_out(self, capacity: int) -> None:
        self.capacity = capacity
        shape = torch.Size((2, self.rows, self.heads, capacity, self.width))
        self.both = [memory[: shape.numel()].view(shape) for memory in self._memory]  # keys, values
        self._flat = [part.view(2, -1, capacity, self.width) for part in self.both]

    def keep(self, rows: Tensor, end: int) -> None:
        """Keep only these rows (ascending) and their positions before `end`; they move to the front."""
        kept = len(rows)
        still = int((rows == torch.arange(kept, device=rows.device)).sum())
        for part in self.both:
            part[:, still:kept, :, :end] = part[:, rows[still:], :, :end]

    def mask(self, lengths: Tensor, end: int, ragged: bool, window: int | None = None) -> Tensor | None:
        """What `attend` needs so that row i sees its positions up to and including `lengths[i]`, all before `end`.

        With a window, only the last so many of them. None where the keys are cut to what all rows see.
        """
        if window is not None and window >= end:
            window = None
        if self.products:
            if not ragged and end == self.capacity and window is None:
                return None
            places = torch.arange(self.capacity, device=lengths.device)
            mask = torch.zeros(len(lengths), self.capacity, dtype=torch.bfloat16, device=lengths.device)
            mask.masked_fill_(~seen_keys(lengths[:, None], places, window), -torch.inf)
            return mask.repeat_interleave(self.heads, 0)[:, None]
        if not ragged:
            return None
        return seen_keys(lengths[:, None], torch.arange(end, device=lengths.device), window)[:, None, None]

    def attend(self, layer: int, queries: Tensor, end: int, mask: Tensor | None, rule: AttentionRule = PLAIN) -> Tensor:
        """Attention of one position a row, [rows, query heads, width], over the cache: [rows, query heads * width]."""
        rows = len(queries)
        if not self.products:
            first = 0 if rule.window is None or mask is not None else max(0, end - rule.window)
            keys, values = self.both[layer][:, :rows, :, first:end]
            if rule.cap is not None:
                return self._capped(queries, keys, values, mask, rule)
            if mask is None and end - first <= SHORT and queries.device.type == "cpu":
                keys, values = (x.reshape(rows * self.heads, -1, self.width) for x in (keys, values))
                return self._multiplied(queries, keys, values, None, rule)
            folded = queries.reshape(rows, self.heads, -1, self.width)
            return F.scaled_dot_product_attention(folded, keys, values, mask, scale=rule.factor).reshape(rows, -1)
        keys, values = self._flat[layer][:, : rows * self.heads]
        if rule.cap is not None:
            shape = (rows, self.heads, self.capacity, self.width)
            seen = None if mask is None else (mask == 0).view(rows, self.heads, 1, -1)[:, :1]
            return self._capped(queries, keys.view(shape), values.view(shape), seen, rule)
        return self._multiplied(queries, keys, values, mask, rule)

    def _multiplied(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, rule: AttentionRule
    ) -> Tensor:
        """Two products and a softmax; keys and values [rows * heads, positions, width]."""
        folded = queries.reshape(len(keys), -1, self.width)
        start, beta = (folded[:1, :1, :1], 0) if mask is None else (mask, 1)  # with 0, `start` is not read
        scores = torch.baddbmm(start, folded, keys.mT, beta=beta, alpha=rule.scale(self.width))
        return torch.bmm(torch.softmax(scores, dim=-1), values).view(len(queries), -1)

    def _capped(
        self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None, rule: AttentionRule
    ) -> Tensor:
        mask = None if seen is None else additive(seen, queries.dtype)
        return capped_attention(queries[:, :, None], keys, values, mask, rule).reshape(len(queries), -1)
