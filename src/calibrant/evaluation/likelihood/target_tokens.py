"""Log-probabilities of target tokens, and whether each is the most probable, from chunks of logits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from calibrant.evaluation.likelihood.request_tree import Request, TokenTree
from calibrant.models.structure.logit_chunks import EVALUATION_CACHE, cache_rows


class Targets:
    """The targets of a batch of trees: which nodes' logits are needed, and what they say of the targets.

    Attributes:
        nodes: for each tree, the distinct nodes that are scored, ascending.
    """

    def __init__(self, trees: Sequence[TokenTree], documents: Sequence[Sequence[Request]]) -> None:
        self.documents = documents
        self.nodes: list[list[int]] = []
        slots: list[int] = []  # row of logits of each target
        first = 0
        for tree in trees:
            nodes = sorted({node for path in tree.scored for node in path})
            rank = {node: first + i for i, node in enumerate(nodes)}
            slots += [rank[node] for path in tree.scored for node in path]
            self.nodes.append(nodes)
            first += len(nodes)
        tokens = [token for requests in documents for request in requests for token in request.targets]
        # In the order of rows: each chunk of logits then has a range of targets.
        self.order = sorted(range(len(slots)), key=slots.__getitem__)
        self.slots = torch.tensor([slots[i] for i in self.order])
        self.tokens = torch.tensor([tokens[i] for i in self.order])
        self.seen = 0
        self.logprobs: list[Tensor] = []
        self.greedy: list[Tensor] = []

    def see(self, logits: Tensor) -> None:
        """The next rows of logits [rows, vocabulary]; log-probabilities are taken in float32."""
        for part in torch.split(logits, cache_rows(logits, EVALUATION_CACHE)):
            begin, end = torch.searchsorted(self.slots, torch.tensor([self.seen, self.seen + len(part)])).tolist()
            index = (self.slots[begin:end] - self.seen).to(part.device)
            tokens = self.tokens[begin:end].to(part.device)
            own = part[index, tokens].float()
            best, place = part.max(-1)  # the first of equals, as argmax; argmax itself takes four times as long
            best = best.float()
            # A copy even of float32: the head's output may not be ours to change.
            rest = torch.sub(part, best[:, None]).exp_().sum(-1).log()
            self.logprobs.append(own - best[index] - rest[index])
            self.greedy.append(place[index] == tokens)
            self.seen += len(part)

    def results(self) -> list[list[tuple[float, bool]]]:
        """For each document and request: the sum of its targets' log-probabilities, and whether all were greedy."""
        count = len(self.order)
        logprobs, greedy = [0.0] * count, [False] * count
        found = zip(torch.cat(self.logprobs).double().tolist(), torch.cat(self.greedy).tolist(), strict=True)
        for place, (logprob, best) in zip(self.order, found, strict=True):
            logprobs[place], greedy[place] = logprob, best
        results = []
        start = 0
        for requests in self.documents:
            row = []
            for request in requests:
                stop = start + len(request.targets)
                row.append((sum(logprobs[start:stop]), all(greedy[start:stop])))
                start = stop
            results.append(row)
        return results
