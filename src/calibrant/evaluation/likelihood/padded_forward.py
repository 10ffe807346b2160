"""Forward passes of a transformers model over trees of requests, as rows of a padded batch with tree masks."""

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from calibrant.evaluation.likelihood.request_tree import TokenTree
from calibrant.models.decoders.packed_attention import tree_mask
from calibrant.models.structure.logit_chunks import PositionLogits
from calibrant.models.structure.output_head import captured_hidden

ALIGNMENT, ALIGNED_FROM = 16, 64  # PyTorch's CPU attention takes 1.5 times as long for an odd number of keys


class PaddedForward:
    """Logits at scored nodes by any transformers model on any device.

    Attributes:
        position_logits: where they come from.
    """

    def __init__(self, model: nn.Module) -> None:
        """Raises `InputError` where the model has no output head."""
        self.model = model
        self.position_logits = PositionLogits(model)
        self._weight = next(self.position_logits.head.parameters())

    @torch.no_grad()
    def prefix(self, tokens: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Keys and values [1, heads, prefix, width] of every layer."""
        from transformers import DynamicCache

        cache = DynamicCache()
        with captured_hidden(self.position_logits.head):
            self.model(input_ids=self._tensor([tokens]), past_key_values=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def batches(self, trees: Sequence[Sized], tokens: int) -> Iterator[list[int]]:
        """Indices of trees in batches of at most `tokens` tokens, padding included; longest first."""
        batch: list[int] = []
        for index in sorted(range(len(trees)), key=lambda i: -len(trees[i])):
            if batch and (len(batch) + 1) * len(trees[batch[0]]) > tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    @torch.no_grad()
    def logits(
        self, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]], prefix: list[tuple[Tensor, Tensor]] | None
    ) -> Iterator[Tensor]:
        """Logits [rows, vocabulary], in chunks, at the given nodes of each tree, tree after tree."""
        past = prefix[0][0].shape[-2] if prefix is not None else 0
        width = self._aligned(past + max(map(len, trees))) - past
        ids = self._tensor([tree.tokens + [0] * (width - len(tree)) for tree in trees])
        inputs: dict[str, Any] = {"input_ids": ids, "use_cache": False}
        if prefix is not None:
            from transformers import DynamicCache

            rows = len(trees)
            expanded = [(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in prefix]
            inputs |= {"past_key_values": DynamicCache(expanded), "use_cache": True}
        if prefix is not None or not all(tree.is_chain for tree in trees):
            inputs |= self._shape(trees, width, past)
        # Right padding needs no mask in chains: a causal model's real tokens never see what follows.
        keep = self._tensor([row * width + node for row, wanted in enumerate(nodes) for node in wanted])
        yield from self.position_logits(inputs, keep)

    def hidden(self, rows: Sequence[Sequence[int]], kept: Sequence[int]) -> Tensor:
        """What the head is given [positions, width] at the last `kept` positions of each row of tokens, row by row."""
        width = self._aligned(max(map(len, rows)))
        ids = self._tensor([[*row, *[0] * (width - len(row))] for row in rows])
        places = [
            number * width + place
            for number, (row, n) in enumerate(zip(rows, kept, strict=True))
            for place in range(len(row) - n, len(row))
        ]
        return self.position_logits.hidden({"input_ids": ids, "use_cache": False}, self._tensor(places))

    def of_hidden(self, hidden: Tensor) -> Iterator[Tensor]:
        """Logits [rows, vocabulary], in chunks, of what the head was given."""
        yield from self.position_logits.of_hidden(hidden.to(self._weight.device))

    def _aligned(self, keys: int) -> int:
        """A number of keys that attention is fast for, unless the model has no positions for it."""
        longest = getattr(getattr(self.model, "config", None), "max_position_embeddings", None)
        rounded = keys + -keys % ALIGNMENT
        return rounded if keys >= ALIGNED_FROM and (longest is None or rounded <= longest) else keys

    def _shape(self, trees: Sequence[TokenTree], width: int, past: int) -> dict[str, Tensor]:
        """What makes a row a tree: which nodes see which, and each node's position."""
        mask = tree_mask([tree.end for tree in trees], width, self._weight.dtype, self._weight.device)
        positions = self._tensor([tree.depth + [0] * (width - len(tree)) for tree in trees]) + past
        return {"attention_mask": F.pad(mask, (past, 0)), "position_ids": positions}

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._weight.device)
