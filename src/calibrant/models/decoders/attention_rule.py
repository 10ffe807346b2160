"""How one layer attends: how many tokens it sees, what its scores are multiplied by, and their soft cap."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AttentionRule:
    """One layer's.

    window: tokens that a token sees, itself among them; None: all before it.
    factor: what scores are multiplied by; None: 1 / sqrt(width).
    cap: scores become cap · tanh(score / cap) before the mask; None: they do not.
    """

    window: int | None = None
    factor: float | None = None
    cap: float | None = None

    def scale(self, width: int) -> float:
        """What scores are multiplied by in heads of this width."""
        return width**-0.5 if self.factor is None else self.factor


PLAIN = AttentionRule()


def seen_keys(queries: Tensor, keys: Tensor, window: int | None) -> Tensor:
    """Whether a query at a position sees a key at a position: bool, of the broadcast shape of both.

    A window counts the query's own token, as transformers' sliding windows do.
    """
    seen = keys <= queries
    return seen if window is None else seen & (keys > queries - window)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: 0 where a key is seen (bool), the smallest number elsewhere."""
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)


def capped_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, rule: AttentionRule) -> Tensor:
    """softmax(cap · tanh(q kᵀ · factor / cap) + mask) v, as transformers' eager attention reckons it (Gemma 2).

    Args:
        q: [rows, heads, queries, width].
        k, v: [rows, kv heads, keys, width]; the query heads of a group share its keys.
        mask: additive, [rows or 1, 1, queries, keys]; None: every key is seen.
        rule: the layer's; its window is the caller's to put into the mask.

    Returns:
        [rows, heads, queries, width]. The softmax is float32's.
    """
    rows, heads, queries, width = q.shape
    groups = k.shape[1]
    folded = q.reshape(rows * groups, -1, width)
    keys, values = (x.reshape(rows * groups, -1, width) for x in (k, v))
    scores = torch.bmm(folded, keys.mT).mul_(rule.scale(width))
    if rule.cap is not None:
        scores = scores.div_(rule.cap).tanh_().mul_(rule.cap)
    if mask is not None:
        scores = (scores.view(rows, groups, -1, queries, len(keys[0])) + mask[:, :, None]).view_as(scores)
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)
    return torch.bmm(weights, values).view(rows, heads, queries, width)
