"""Causal attention over blocks of queries, on the CPU, where PyTorch's own kernel is slow: bfloat16, some of float32.

Plain matrix products and a softmax, which oneDNN and PyTorch run at their full rate; scores above the diagonal
are never computed, but for the diagonal blocks'. `attention.py` puts it into transformers' models.
"""

import torch
from torch import Tensor

BLOCK = 128  # queries; measured best from 256 to 2048 tokens
SCORES = 3 << 20  # bytes of scores at a time: about what stays in the cache from one pass over them to the next
SHORTEST = 16  # queries in bfloat16; below that there is nothing to gain
LENGTHS = {  # queries for which there is something to gain: from, up to
    torch.bfloat16: (SHORTEST, None),
    torch.float32: (256, 767),  # PyTorch's kernel takes 64 queries at a time there, and more for longer sequences
}


def gains(dtype: torch.dtype, queries: int) -> bool:
    """Whether so many queries in this format take less time than by PyTorch's kernel."""
    shortest, longest = LENGTHS[dtype]
    return shortest <= queries and (longest is None or queries <= longest)


def block_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
    """softmax(query keyᵀ · scaling + causal mask) value, each query head with the keys of its group.

    When there are fewer queries than keys, they are the last ones. Scores are rounded to the inputs' format before
    the softmax, as in plain attention, but as differences to the larger of two scores that rows often peak at: of
    the token with itself and with the first token. What counts in a row is then near zero, where bfloat16 is
    fine: the result is about as close to the exact one as that of PyTorch's kernel, which keeps float32 scores.

    Args:
        query: [batch, heads, queries, width].
        key: [batch, key heads, keys, width]; heads is a multiple of key heads, keys at least queries.
        value: [batch, key heads, keys, value width].
        scaling: what scores are multiplied by; 1 / sqrt(width) by default.

    Returns:
        [batch, queries, heads, value width], contiguous.
    """
    batch, heads, queries, width = query.shape
    groups, keys = key.shape[1:3]
    shared = heads // groups  # query heads that share one key head: rows of one product
    scaling = width**-0.5 if scaling is None else scaling
    rows = query.reshape(batch * groups, shared, queries, width).transpose(1, 2).contiguous()
    k = key.reshape(batch * groups, keys, width)
    v = value.reshape(batch * groups, keys, value.shape[-1])
    offset = keys - queries
    own = (rows * k[:, offset:, None]).sum(-1)
    first = torch.bmm(rows.view(len(rows), -1, width), k[:, :1].transpose(1, 2)).view_as(own)
    peak = torch.maximum(own, first).mul_(-scaling)[..., None]
    future = torch.full((BLOCK, BLOCK), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)[:, None]
    output = torch.empty(batch, queries, groups, shared * v.shape[-1], dtype=query.dtype, device=query.device)
    for start in range(0, queries, BLOCK):
        end = min(start + BLOCK, queries)
        seen, count = end + offset, end - start
        at_once = max(1, SCORES // (count * shared * seen * query.element_size()))
        for i in range(0, batch * groups, at_once):
            j = min(i + at_once, batch * groups)
            scores = peak[i:j, start:end].expand(-1, -1, -1, seen).contiguous()
            scores[..., start + offset :] += future[:count, :, :count]
            scores = scores.view(j - i, count * shared, seen)
            attended = _attend(scores, rows[i:j, start:end].flatten(1, 2), k[i:j, :seen], v[i:j, :seen], scaling)
            for group, result in zip(range(i, j), attended, strict=True):
                output[group // groups, start:end, group % groups] = result.view(count, -1)
    return output.view(batch, queries, heads, -1)


def _attend(scores: Tensor, rows: Tensor, k: Tensor, v: Tensor, scaling: float) -> Tensor:
    """softmax(scores + rows kᵀ · scaling) v; all [groups, ...], `scores` is overwritten."""
    if len(rows) == 1:  # a single product takes slices as they are; a batched one copies them
        torch.addmm(scores[0], rows[0], k[0].T, alpha=scaling, out=scores[0])
        torch.softmax(scores[0], -1, out=scores[0])
        return torch.mm(scores[0], v[0])[None]
    torch.baddbmm(scores, rows, k.transpose(1, 2), alpha=scaling, out=scores)
    torch.softmax(scores, -1, out=scores)
    return torch.bmm(scores, v)
