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

from calibrant.models.decoders.attention_rule import PLAIN, AttentionRule, additive, capped_attention, seen_keys
from calibrant.models.decoders.block_attention import block_attention

QUERIES = 256  # at a time, where a window or a soft cap leaves no kernel for the whole sequence
CACHE_ELEMENTS = 1 << 19  # scores at a time: they stay in a core's cache from one step to the next
LEAST_FILLED = 0.8  # sequences share a padded block when the shortest fills so much of it

KeysValues = tuple[Tensor, Tensor]  # [kv heads, tokens, width] each


@dataclass(frozen=True)
class _Block:
    """Sequences padded to one length: where they lie, and what their tokens see.

    start, count, length: flat position of the first token, number of sequences, longest length.
    gather: int64 [count, length], flat position of each token (any, for padding); None where nothing is padded.
    scatter: int64, places in the padded block that hold tokens; None as above.
    trees: of trees, one more than the last node of each node's subtree; None for plain sequences.
    """

    start: int
    count: int
    length: int
    gather: Tensor | None
    scatter: Tensor | None
    trees: list[Sequence[int]] | None


class PackedAttention:
    """Which tokens see which: each its ancestors and itself, and the common prefix, as far as a layer's window reaches.

    Give sequences of like length beside each other.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        dtype: torch.dtype,
        ends: Sequence[Sequence[int]] | None = None,
        prefix: Sequence[KeysValues] | None = None,
        rules: Sequence[AttentionRule] | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Prepare blocks.

        Args:
            lengths: tokens of each sequence or tree.
            dtype: number format of the model.
            ends: for trees, one more than the last node of each node's subtree (`evaluation.likelihood.request_tree`).
            prefix: keys and values of every layer that all tokens see.
            rules: of every layer; None: plain attention.
            device: the model's; None: the CPU.
        """
        self.prefix = prefix
        self.rules = rules
        self.dtype = dtype
        self.device = device or torch.device("cpu")
        self.blocks = list(_blocks(lengths, ends, self.device))
        self.exact = dtype != torch.bfloat16 or self.device.type != "cpu"  # see above
        self._masks: dict[tuple[int, int | None], Tensor] = {}  # by block and window

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [tokens, heads, width], k and v [tokens, kv heads, width] -> [tokens, heads * width]."""
        mixed = q.new_empty(len(q), q.shape[1] * q.shape[2])
        before = None if self.prefix is None else self.prefix[layer]
        rule = PLAIN if self.rules is None else self.rules[layer]
        for number, block in enumerate(self.blocks):
            parts = [_padded(x, block) for x in (q, k, v)]  # [count, heads, length, width]
            if before is not None:
                keys, values = (
                    torch.cat([old.expand(block.count, -1, -1, -1), new], dim=2)
                    for old, new in zip(before, parts[1:], strict=True)
                )
            else:
                keys, values = parts[1:]
            rows = self._attend(parts[0], keys, values, number, rule)
            end = block.start + (block.count * block.length if block.scatter is None else len(block.scatter))
            mixed[block.start : end] = rows if block.scatter is None else rows[block.scatter]
        return mixed

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, number: int, rule: AttentionRule) -> Tensor:
        """[count, heads, length, width] each -> [count * length, heads * width]."""
        count, heads, length, width = q.shape
        past = k.shape[2] - length
        trees = self.blocks[number].trees
        window = rule.window if rule.window is not None and rule.window < k.shape[2] else None
        if trees is not None:
            mask = self._tree_mask(number, window, past)
            step = max(1, CACHE_ELEMENTS // (heads * length * k.shape[2]))
            parts = [
                self._masked(q[i : i + step], k[i : i + step], v[i : i + step], mask[i : i + step], rule)
                for i in range(0, count, step)
            ]
            mixed = torch.cat(parts)
        elif window is not None or rule.cap is not None:
            mixed = self._in_parts(q, k, v, window, rule)
        elif not self.exact:
            return block_attention(q, k, v, rule.factor).view(count * length, heads * width)
        elif past:
            mixed = self._masked(q, k, v, _triangle(length, q.dtype, self.device), rule)
        else:
            grouped = heads != k.shape[1]
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=rule.factor, enable_gqa=grouped)
        return mixed.transpose(1, 2).reshape(count * length, heads * width)

    def _in_parts(self, q: Tensor, k: Tensor, v: Tensor, window: int | None, rule: AttentionRule) -> Tensor:
        """Causal attention, QUERIES at a time and only over keys that some of them see."""
        length, past = q.shape[2], k.shape[2] - q.shape[2]
        places = torch.arange(past + length, device=q.device)
        mixed = []
        for start in range(0, length, QUERIES):
            end = min(start + QUERIES, length)
            first = 0 if window is None else max(0, past + start - window + 1)
            seen = seen_keys(places[past + start : past + end, None], places[first : past + end], window)
            part = slice(first, past + end)
            mixed.append(
                self._masked(
                    q[:, :, start:end], k[:, :, part], v[:, :, part], additive(seen, self.dtype)[None, None], rule
                )
            )
        return torch.cat(mixed, 2)

    def _tree_mask(self, number: int, window: int | None, past: int) -> Tensor:
        """Additive [count, 1, length, length], with a window [count, 1, length, past + length]; made once."""
        if (number, window) not in self._masks:
            block = self.blocks[number]
            assert block.trees is not None
            seen = _seen_nodes(block.trees, block.length, self.device)
            if window is not None:
                depth = seen.sum(-1) - 1 + past  # as many ancestors as a node has stand before it
                before = torch.arange(past, device=self.device)
                near = seen_keys(
                    depth[:, :, None], torch.cat([before.expand(len(seen), -1), depth], 1)[:, None], window
                )
                seen = F.pad(seen, (past, 0), value=True) & near
            self._masks[number, window] = additive(seen, self.dtype)[:, None]
        return self._masks[number, window]

    def _masked(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, rule: AttentionRule) -> Tensor:
        """Attention in which the mask [count or 1, 1, length, n] is over the last n keys; earlier ones are seen."""
        count, heads, length, width = q.shape
        kv_heads, reach = k.shape[1], k.shape[2]
        past = reach - mask.shape[-1]
        if self.exact or rule.cap is not None:
            whole = F.pad(mask, (past, 0)) if past else mask
            if rule.cap is not None:
                return capped_attention(q, k, v, whole, rule)
            grouped = heads != kv_heads
            mixed: Tensor = F.scaled_dot_product_attention(q, k, v, whole, scale=rule.factor, enable_gqa=grouped)
            return mixed
        # The query heads that share a key-value head are rows of one head. Scores are rounded as differences to the
        # larger of two that rows often peak at, as in `block_attention`.
        scale = rule.scale(width)
        rows = q.reshape(count, kv_heads, -1, length, width).contiguous()
        own = (rows * k[:, :, None, reach - length :]).sum(-1)
        folded, keys = rows.view(count * kv_heads, -1, width), k.reshape(-1, reach, width).transpose(1, 2)
        first = torch.bmm(folded, keys[..., :1]).view_as(own)
        peak = torch.maximum(own, first).mul_(-scale)[..., None]
        if past:
            scores = peak.expand(-1, -1, -1, -1, reach).contiguous()
            scores[..., past:] += mask[:, :, None]
        else:
            scores = peak + mask[:, :, None]
        scores = scores.view(count * kv_heads, -1, reach)
        torch.baddbmm(scores, folded, keys, alpha=scale, out=scores)
        torch.softmax(scores, -1, out=scores)
        return torch.bmm(scores, v.reshape(-1, reach, width)).view(count, heads, length, width)


def _blocks(lengths: Sequence[int], ends: Sequence[Sequence[int]] | None, device: torch.device) -> Iterator[_Block]:
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
            places = torch.arange(length, device=device)
            sizes = torch.tensor(part, device=device)
            offsets = start + torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
            real = places < sizes[:, None]
            gather = torch.where(real, offsets[:, None] + places, start)
            scatter = real.flatten().nonzero().squeeze(1)
        trees = None if ends is None else list(ends[first:last])
        if trees is not None and all(end == len(tree) for tree in trees for end in tree):
            trees = None
        yield _Block(start, len(part), length, gather, scatter, trees)
        start += sum(part)
        first = last


def _padded(x: Tensor, block: _Block) -> Tensor:
    """[tokens, heads, width] -> [count, heads, length, width]."""
    if block.gather is None:
        part = x[block.start : block.start + block.count * block.length]
        return part.view(block.count, block.length, *x.shape[1:]).transpose(1, 2)
    return x[block.gather].transpose(1, 2)


def _triangle(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Additive causal mask [1, 1, length, length]. Right padding needs no more: no token sees what follows it."""
    least = torch.finfo(dtype).min
    return torch.full((length, length), least, dtype=dtype, device=device).triu_(1)[None, None]


def tree_mask(
    ends: Sequence[Sequence[int]], length: int, dtype: torch.dtype, device: torch.device | None = None
) -> Tensor:
    """Additive mask [trees, 1, length, length]: 0 where a node may look, the smallest number elsewhere.

    Node j is an ancestor of node i, or i itself, when j <= i < end[j]. Padding sees itself, so that its softmax is not
    empty, and nothing sees it.
    """
    seen = _seen_nodes(ends, length, device)
    return additive(seen[:, None], dtype)


def _seen_nodes(ends: Sequence[Sequence[int]], length: int, device: torch.device | None) -> Tensor:
    """Bool [trees, length, length]: whether a node sees another, as `tree_mask` says."""
    index = torch.arange(length, device=device)
    end = torch.stack([torch.cat([torch.tensor(tree, device=device), index[len(tree) :] + 1]) for tree in ends])
    return (index[None, None, :] <= index[None, :, None]) & (index[None, :, None] < end[:, None, :])
