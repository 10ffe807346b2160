"""Attention among sequences and trees of tokens that lie one after the other, without padding.

Sequences of like length are attended to together, padded for that step only. In float32 (and on other machines)
PyTorch's attention does the work; in bfloat16 on CPU it takes nearly twice the time of two matrix products and a
softmax (50 to 700 keys), which are used instead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from calibrant.models.decoders.block_attention import block_attention

CACHE_ELEMENTS = 1 << 19  # scores at a time: they stay in a core's cache from one step to the next
LEAST_FILLED = 0.8  # sequences share a padded block when the shortest fills so much of it

KeysValues = tuple[Tensor, Tensor]  # [kv heads, tokens, width] each


@dataclass(frozen=True)
class _Block:
    """Sequences padded to one length: where they lie, and what their tokens see.

    start, count, length: flat position of the first token, number of sequences, longest length.
    gather: int64 [count, length], flat position of each token (any, for padding); None where nothing is padded.
    scatter: int64, places in the padded block that hold tokens; None as above.
    mask: additive [count, 1, length, length]; None for plain sequences, whose mask is the causal one.
    """

    start: int
    count: int
    length: int
    gather: Tensor | None
    scatter: Tensor | None
    mask: Tensor | None


class PackedAttention:
    """Which tokens see which: each its ancestors and itself, and the common prefix.

    Give sequences of like length beside each other.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        dtype: torch.dtype,
        ends: Sequence[Sequence[int]] | None = None,
        prefix: Sequence[KeysValues] | None = None,
    ) -> None:
        """Prepare masks.

        Args:
            lengths: tokens of each sequence or tree.
            dtype: number format of the model.
            ends: for trees, one more than the last node of each node's subtree (`evaluation.likelihood.request_tree`).
            prefix: keys and values of every layer that all tokens see.
        """
        self.prefix = prefix
        self.blocks = list(_blocks(lengths, ends, dtype))
        self.exact = dtype != torch.bfloat16  # see above

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [tokens, heads, width], k and v [tokens, kv heads, width] -> [tokens, heads * width]."""
        mixed = q.new_empty(len(q), q.shape[1] * q.shape[2])
        before = None if self.prefix is None else self.prefix[layer]
        for block in self.blocks:
            parts = [_padded(x, block) for x in (q, k, v)]  # [count, heads, length, width]
            if before is not None:
                keys, values = (
                    torch.cat([old.expand(block.count, -1, -1, -1), new], dim=2)
                    for old, new in zip(before, parts[1:], strict=True)
                )
            else:
                keys, values = parts[1:]
            rows = self._attend(parts[0], keys, values, block.mask)
            end = block.start + (block.count * block.length if block.scatter is None else len(block.scatter))
            mixed[block.start : end] = rows if block.scatter is None else rows[block.scatter]
        return mixed

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """[count, heads, length, width] each -> [count * length, heads * width]."""
        count, heads, length, width = q.shape
        past = k.shape[2] - length
        if mask is None and self.exact and not past:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != k.shape[1])
        elif mask is None and self.exact:
            mixed = self._masked(q, k, v, _triangle(length, q.dtype))
        elif mask is None:
            return block_attention(q, k, v).view(count * length, heads * width)
        else:
            step = max(1, CACHE_ELEMENTS // (heads * length * k.shape[2]))
            mixed = torch.cat(
                [self._masked(*(x[i : i + step] for x in (q, k, v, mask))) for i in range(0, count, step)]
            )
        return mixed.transpose(1, 2).reshape(count * length, heads * width)

    def _masked(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attention in which the mask [count or 1, 1, length, n] is over the last n keys; earlier ones are seen."""
        count, heads, length, width = q.shape
        kv_heads, reach = k.shape[1], k.shape[2]
        past = reach - mask.shape[-1]
        if self.exact:
            whole = F.pad(mask, (past, 0)) if past else mask
            mixed: Tensor = F.scaled_dot_product_attention(q, k, v, whole, enable_gqa=heads != kv_heads)
            return mixed
        # The query heads that share a key-value head are rows of one head. Scores are rounded as differences to the
        # larger of two that rows often peak at, as in `block_attention`.
        rows = q.reshape(count, kv_heads, -1, length, width).contiguous()
        own = (rows * k[:, :, None, past:]).sum(-1)
        folded, keys = rows.view(count * kv_heads, -1, width), k.reshape(-1, reach, width).transpose(1, 2)
        first = torch.bmm(folded, keys[..., :1]).view_as(own)
        peak = torch.maximum(own, first).mul_(-(width**-0.5))[..., None]
        if past:
            scores = peak.expand(-1, -1, -1, -1, reach).contiguous()
            scores[..., past:] += mask[:, :, None]
        else:
            scores = peak + mask[:, :, None]
        scores = scores.view(count * kv_heads, -1, reach)
        torch.baddbmm(scores, folded, keys, alpha=width**-0.5, out=scores)
        torch.softmax(scores, -1, out=scores)
        return torch.bmm(scores, v.reshape(-1, reach, width)).view(count, heads, length, width)


def _blocks(lengths: Sequence[int], ends: Sequence[Sequence[int]] | None, dtype: torch.dtype) -> Iterator[_Block]:
    start = first = 0
    while first < len(lengths):
        last = first + 1
        longest = shortest = lengths[first]
        while last < len(lengths):
            longest, shortest = max(longest, lengths[last]), min(shortest, lengths[last])
            if shortest < LEAST_FILLED * longest:
                break
            last += 1
        part = list(lengths[first:last])
        length = max(part)
        gather = scatter = None
        if min(part) < length:
            places = torch.arange(length)
            sizes = torch.tensor(part)
            offsets = start + torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
            real = places < sizes[:, None]
            gather = torch.where(real, offsets[:, None] + places, start)
            scatter = real.flatten().nonzero().squeeze(1)
        trees = None if ends is None else ends[first:last]
        if trees is None or all(end == len(tree) for tree in trees for end in tree):
            mask = None
        else:
            mask = tree_mask(trees, length, dtype)
        yield _Block(start, len(part), length, gather, scatter, mask)
        start += sum(part)
        first = last


def _padded(x: Tensor, block: _Block) -> Tensor:
    """[tokens, heads, width] -> [count, heads, length, width]."""
    if block.gather is None:
        part = x[block.start : block.start + block.count * block.length]
        return part.view(block.count, block.length, *x.shape[1:]).transpose(1, 2)
    return x[block.gather].transpose(1, 2)


def _triangle(length: int, dtype: torch.dtype) -> Tensor:
    """Additive causal mask [1, 1, length, length]. Right padding needs no more: no token sees what follows it."""
    return torch.full((length, length), torch.finfo(dtype).min, dtype=dtype).triu_(1)[None, None]


def tree_mask(
    ends: Sequence[Sequence[int]], length: int, dtype: torch.dtype, device: torch.device | None = None
) -> Tensor:
    """Additive mask [trees, 1, length, length]: 0 where a node may look, the smallest number elsewhere.

    Node j is an ancestor of node i, or i itself, when j <= i < end[j]. Padding sees itself, so that its softmax is not
    empty, and nothing sees it.
    """
    index = torch.arange(length, device=device)
    end = torch.stack([torch.cat([torch.tensor(tree, device=device), index[len(tree) :] + 1]) for tree in ends])
    sees = (index[None, None, :] <= index[None, :, None]) & (index[None, :, None] < end[:, None, :])
    mask = torch.zeros(len(ends), 1, length, length, dtype=dtype, device=device)
    return mask.masked_fill_(~sees[:, None], torch.finfo(dtype).min)
