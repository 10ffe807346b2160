"""Forward passes of our own decoder on CPU over trees of requests, without padding."""

from collections.abc import Iterator, Sequence, Sized
from itertools import accumulate

import torch
from torch import Tensor

from calibrant.evaluation.likelihood.request_tree import TokenTree
from calibrant.models.decoders.decoder import MOST_TOKENS, Decoder
from calibrant.models.decoders.packed_attention import KeysValues
from calibrant.models.structure.logit_chunks import chunked_logits


class PackedForward:
    """Logits at scored nodes, from `Decoder`."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def prefix(self, tokens: list[int]) -> list[KeysValues]:
        """Keys and values [kv heads, prefix, width] of every layer."""
        cache: list[KeysValues] = []
        # No hidden state is wanted: the last layer's keys and values do not depend on its own output.
        nothing = torch.zeros(0, dtype=torch.int64)
        self.decoder(tokens, range(len(tokens)), self.decoder.attention([len(tokens)]), nothing, cache)
        return [(k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous()) for k, v in cache]

    def batches(self, trees: Sequence[Sized], tokens: int) -> Iterator[list[int]]:
        """Indices of trees in batches of at most `tokens` tokens (a longer tree goes alone); longest first."""
        batch: list[int] = []
        size = 0
        for index in sorted(range(len(trees)), key=lambda i: -len(trees[i])):
            if batch and size + len(trees[index]) > min(tokens, MOST_TOKENS):
                yield batch
                batch, size = [], 0
            batch.append(index)
            size += len(trees[index])
        if batch:
            yield batch

    @torch.no_grad()
    def logits(
        self, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]], prefix: list[KeysValues] | None
    ) -> Iterator[Tensor]:
        """Logits [rows, vocabulary], in chunks, at the given nodes of each tree, tree after tree."""
        lengths = [len(tree) for tree in trees]
        past = 0 if prefix is None else prefix[0][0].shape[1]
        starts = [0, *accumulate(lengths)]
        keep = torch.tensor([start + node for start, wanted in zip(starts, nodes, strict=False) for node in wanted])
        hidden = self.decoder(
            [token for tree in trees for token in tree.tokens],
            [past + depth for tree in trees for depth in tree.depth],
            self.decoder.attention(lengths, [tree.end for tree in trees], prefix),
            keep,
        )
        yield from chunked_logits(self.decoder.head, hidden)

    def hidden(self, rows: Sequence[Sequence[int]], kept: Sequence[int]) -> Tensor:
        """What the head is given [positions, width] at the last `kept` positions of each row of tokens, row by row."""
        lengths = [len(row) for row in rows]
        ends = accumulate(lengths)
        keep = torch.tensor([place for end, n in zip(ends, kept, strict=True) for place in range(end - n, end)])
        tokens = [token for row in rows for token in row]
        positions = [place for length in lengths for place in range(length)]
        return self.decoder(tokens, positions, self.decoder.attention(lengths), keep)

    @torch.no_grad()
    def of_hidden(self, hidden: Tensor) -> Iterator[Tensor]:
        """Logits [rows, vocabulary], in chunks, of what the head was given."""
        yield from chunked_logits(self.decoder.head, hidden)
