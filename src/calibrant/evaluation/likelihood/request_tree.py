"""Requests that share tokens, as one tree: what they have in common is computed once.

The choices of a question share its context, so [context, choice 1, choice 2, ...] in one row of a batch costs
about a quarter of four full sequences. Each token attends to its ancestors only, at the position it would have in
its own sequence, so every log-likelihood is what the plain sequence gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """Tokens to condition on and tokens to score, for one continuation.

    `inputs` is the whole sequence but its last token; `targets` are its last tokens, so the logits at the last
    len(targets) positions of `inputs` predict them.
    """

    inputs: list[int]
    targets: list[int]

    @property
    def first_scored(self) -> int:
        """Position in `inputs` whose logits predict the first target."""
        return len(self.inputs) - len(self.targets)


@dataclass(frozen=True)
class TokenTree:
    """Nodes in depth-first order, parents before children.

    Node j is an ancestor of node i (or i itself) exactly when j <= i < end[j].

    Attributes:
        tokens: token of each node.
        depth: distance of each node from its root.
        end: one more than the last node of each node's subtree.
        scored: for each request, the nodes whose logits predict its targets, in order.
    """

    tokens: list[int]
    depth: list[int]
    end: list[int]
    scored: list[list[int]]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_chain(self) -> bool:
        """Whether the tree is one sequence, so that the usual causal mask describes it."""
        return all(end == len(self.tokens) for end in self.end)


def build_tree(requests: Sequence[Request], skip: int = 0) -> TokenTree:
    """The tree of several requests' inputs without their first `skip` tokens (which they share and do not score)."""
    tokens: list[int] = []
    depth: list[int] = []
    end: list[int] = []
    scored: list[list[int]] = [[] for _ in requests]
    path: list[int] = []  # nodes of the sequence added last
    previous: list[int] = []
    sequences = [request.inputs[skip:] for request in requests]
    # In lexicographic order a sequence continues where it leaves the one before: depth-first order.
    for index in sorted(range(len(requests)), key=lambda i: sequences[i]):
        sequence = sequences[index]
        shared = common_prefix([previous, sequence])
        for node in path[shared:]:
            end[node] = len(tokens)
        path = path[:shared] + list(range(len(tokens), len(tokens) + len(sequence) - shared))
        tokens += sequence[shared:]
        depth += range(shared, len(sequence))
        end += [0] * (len(sequence) - shared)
        previous = sequence
        scored[index] = path[requests[index].first_scored - skip :]
    for node in path:
        end[node] = len(tokens)
    return TokenTree(tokens, depth, end, scored)


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """Length of the prefix that all sequences share (0 for none at all)."""
    if not sequences:
        return 0
    low, high = min(sequences), max(sequences)  # every other one lies between these two
    for position, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return position
    return min(len(low), len(high))
