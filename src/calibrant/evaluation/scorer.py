"""Log-likelihoods of continuations under a causal language model, each shared token computed once."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from calibrant.evaluation.head import captured_hidden, head_is_last, output_head
from calibrant.evaluation.tree import Request, TokenTree, build_tree, common_prefix

log = logging.getLogger(__name__)

Result = tuple[float, bool]  # sum of the targets' log-probabilities (nats); whether each was the most probable token
Document = Sequence[Request]

HEAD_ROWS = 256  # scored positions whose logits exist at one time
ALIGNMENT, ALIGNED_FROM = 16, 64  # PyTorch's CPU attention takes 1.5 times as long for an odd number of keys
SHORTEST_PREFIX = 16  # a shorter common prefix is not worth a forward pass of its own


class Scorer:
    """Scores requests with a model that stays the same object while its weights may change (masks).

    Requests of one document become one row with a tree attention mask; a prefix common to all documents of a
    group (few-shot examples) is computed once and its keys and values are reused. The LM head sees scored
    positions only. Models that do not take such a mask get one plain sequence for each distinct request.

    Raises:
        InputError: the model has no output head.
    """

    def __init__(self, model: nn.Module, *, batch_tokens: int = 2048, tree: bool | None = None) -> None:
        """`tree=None` decides by `why_not_tree` and says so in the log when the plain path is taken."""
        self.model = model
        self.batch_tokens = batch_tokens
        self.head = output_head(model)
        self._weight = next(self.head.parameters())
        self.head_is_last = head_is_last(model, self.head)
        if not self.head_is_last:
            log.warning("%s changes logits after its output head; the head runs unchunked", type(model).__name__)
        reason = why_not_tree(model) if tree is None else None
        self.tree = reason is None if tree is None else tree
        if reason is not None:
            log.warning("%s: one sequence for each choice, since %s", type(model).__name__, reason)

    def score(self, documents: Sequence[Document], progress: Callable[[int], Any] | None = None) -> list[list[Result]]:
        """Score a group of documents.

        Args:
            documents: requests that belong together (the choices of a question), for each document; the whole
                group may share a prefix.
            progress: called with the number of documents done.

        Returns:
            For each document, a result for each request.
        """
        if not self.tree:
            return self._plain(documents, progress)
        skip = self._shared_prefix(documents)
        prefix = None
        if skip:
            prefix = self._prefix_cache(documents[0][0].inputs[:skip])
        trees = [build_tree(requests, skip) for requests in documents]
        results: list[list[Result]] = [[] for _ in documents]
        for batch in _batches(trees, self.batch_tokens):
            scored = self._forward([trees[i] for i in batch], [documents[i] for i in batch], prefix)
            for i, result in zip(batch, scored, strict=True):
                results[i] = result
            if progress:
                progress(len(batch))
        return results

    def _plain(self, documents: Sequence[Document], progress: Callable[[int], Any] | None) -> list[list[Result]]:
        # Requests with the same inputs (one-token choices) still share a sequence: that needs no mask.
        chains: dict[tuple[int, ...], list[Request]] = {}
        for document in documents:
            for request in document:
                chains.setdefault(tuple(request.inputs), []).append(request)
        groups = list(chains.values())
        trees = [build_tree(group) for group in groups]
        found: dict[int, Result] = {}
        done = 0
        for batch in _batches(trees, self.batch_tokens):
            scored = self._forward([trees[i] for i in batch], [groups[i] for i in batch], None)
            for i, results in zip(batch, scored, strict=True):
                found.update({id(request): result for request, result in zip(groups[i], results, strict=True)})
            if progress:
                now = len(found) * len(documents) // sum(map(len, documents))
                progress(now - done)
                done = now
        return [[found[id(request)] for request in document] for document in documents]

    def _shared_prefix(self, documents: Sequence[Document]) -> int:
        if len(documents) < 2:
            return 0
        requests = [request for document in documents for request in document]
        shared = min(common_prefix([r.inputs for r in requests]), min(r.first_scored for r in requests))
        return shared if shared >= SHORTEST_PREFIX else 0

    @torch.no_grad()
    def _prefix_cache(self, tokens: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values [1, heads, prefix, width] of every layer."""
        from transformers import DynamicCache

        cache = DynamicCache()
        with captured_hidden(self.head):
            self.model(input_ids=self._tensor([tokens]), past_key_values=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    @torch.no_grad()
    def _forward(
        self,
        trees: Sequence[TokenTree],
        documents: Sequence[Document],
        prefix: list[tuple[torch.Tensor, torch.Tensor]] | None,
    ) -> list[list[Result]]:
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
        nodes = [row * width + node for row, tree in enumerate(trees) for path in tree.scored for node in path]
        targets = [token for requests in documents for request in requests for token in request.targets]
        logprobs, greedy = self._logprobs(inputs, nodes, targets)
        results: list[list[Result]] = []
        start = 0
        for requests in documents:
            row: list[Result] = []
            for request in requests:
                stop = start + len(request.targets)
                row.append((sum(logprobs[start:stop]), all(greedy[start:stop])))
                start = stop
            results.append(row)
        return results

    def _aligned(self, keys: int) -> int:
        """A number of keys that attention is fast for, unless the model has no positions for it."""
        longest = getattr(getattr(self.model, "config", None), "max_position_embeddings", None)
        rounded = keys + -keys % ALIGNMENT
        return rounded if keys >= ALIGNED_FROM and (longest is None or rounded <= longest) else keys

    def _shape(self, trees: Sequence[TokenTree], width: int, past: int) -> dict[str, torch.Tensor]:
        """What makes a row a tree: which nodes see which, and each node's position.

        The mask [batch, 1, width, past + width] is additive: 0 where a node may look, the smallest number elsewhere.
        """
        dtype = self._weight.dtype
        index = torch.arange(width, device=self._device)
        # A padding node sees itself, so that its softmax is not empty; nothing sees a padding node.
        end = torch.stack([torch.cat([self._tensor(tree.end), index[len(tree) :] + 1]) for tree in trees])
        sees = (index[None, None, :] <= index[None, :, None]) & (index[None, :, None] < end[:, None, :])
        mask = torch.zeros(len(trees), 1, width, past + width, dtype=dtype, device=self._device)
        mask[..., past:].masked_fill_(~sees[:, None], torch.finfo(dtype).min)
        positions = self._tensor([tree.depth + [0] * (width - len(tree)) for tree in trees]) + past
        return {"attention_mask": mask, "position_ids": positions}

    def _logprobs(self, inputs: dict[str, Any], nodes: list[int], targets: list[int]) -> tuple[list[float], list[bool]]:
        """Log-probability of each target at its node, in float32, and whether it is the node's argmax."""
        unique = sorted(set(nodes))
        rank = {node: i for i, node in enumerate(unique)}
        slots = self._tensor([rank[node] for node in nodes])
        wanted = self._tensor(targets)
        keep = self._tensor(unique)
        logprobs = torch.empty(len(nodes), dtype=torch.float32, device=self._device)
        greedy = torch.empty(len(nodes), dtype=torch.bool, device=self._device)
        for start, logits in self._logits(inputs, keep):
            pairs = ((slots >= start) & (slots < start + len(logits))).nonzero().squeeze(1)
            rows, columns = slots[pairs] - start, wanted[pairs]
            logits = logits.float()
            logprobs[pairs] = logits[rows, columns] - logits.logsumexp(-1)[rows]
            greedy[pairs] = logits.argmax(-1)[rows] == columns
        return logprobs.double().tolist(), greedy.tolist()

    def _logits(self, inputs: dict[str, Any], keep: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Logits [rows, vocabulary] at the positions `keep` of the flattened batch, in chunks, each with its start."""
        if not self.head_is_last:
            with captured_hidden(self.head, keep=keep):
                yield 0, self.model(**inputs).logits[0]
            return
        with captured_hidden(self.head) as captured:
            self.model(**inputs)
        hidden = captured[0].flatten(0, 1)[keep]
        for start in range(0, len(hidden), HEAD_ROWS):
            yield start, self.head(hidden[start : start + HEAD_ROWS])

    @property
    def _device(self) -> torch.device:
        return self._weight.device

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)


def why_not_tree(model: nn.Module) -> str | None:
    """Why a model cannot take tree masks, or None when it can.

    The model must use attention that honours a 4-D mask, over all earlier tokens, and must on a small probe give
    the log-likelihoods that plain sequences give.
    """
    config = getattr(model, "config", None)
    if config is None:
        return "it is not a transformers model"
    config = config.get_text_config(decoder=True)
    attention = getattr(config, "_attn_implementation", None)
    if attention not in ("sdpa", "eager"):
        return f"its attention implementation {attention} takes no 4-D mask"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        return f"it has layers of kind {', '.join(sorted(kinds - {'full_attention'}))}"
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True):
        return f"its attention is a sliding window of {window} tokens"
    documents = _probe_documents(int(config.vocab_size))
    plain = _flat(Scorer(model, tree=False).score(documents))
    try:
        tree = _flat(Scorer(model, tree=True).score(documents))
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        return f"its forward pass takes no tree ({' '.join(str(error).split())[:120]})"
    # What a model that ignores masks would give is the measure of what may differ: bfloat16 rounds noticeably.
    leak = (_flat(_Shapeless(model, tree=True).score(documents)) - plain).abs().mean()
    error_size = (tree - plain).abs().mean()
    if not error_size <= 0.3 * leak:
        return f"a probe gave other log-likelihoods (mean difference {error_size:.2g}, {leak:.2g} without the mask)"
    return None


class _Shapeless(Scorer):
    """Lays trees out as rows but tells the model nothing about them."""

    def _shape(self, trees: Sequence[TokenTree], width: int, past: int) -> dict[str, torch.Tensor]:
        return {}


def _probe_documents(vocabulary: int) -> list[list[Request]]:
    """Two documents with a common prefix, each of three choices of different lengths."""
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> list[int]:
        return torch.randint(0, vocabulary, (count,), generator=generator).tolist()

    prefix = draw(SHORTEST_PREFIX + 1)
    documents = []
    for _ in range(2):
        context = prefix + draw(5)
        choices = [draw(length) for length in (5, 7, 6)]
        documents.append([Request((context + choice)[:-1], choice) for choice in choices])
    return documents


def _flat(results: list[list[Result]]) -> torch.Tensor:
    return torch.tensor([value for row in results for value, _ in row], dtype=torch.float64)


def _batches(trees: Sequence[TokenTree], tokens: int) -> Iterator[list[int]]:
    """Indices of trees in batches of at most `tokens` tokens, padding included; longest first."""
    batch: list[int] = []
    for index in sorted(range(len(trees)), key=lambda i: -len(trees[i])):
        if batch and (len(batch) + 1) * len(trees[batch[0]]) > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
