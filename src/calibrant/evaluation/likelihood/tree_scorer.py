"""Log-likelihoods of continuations under a causal language model, each shared token computed once."""

import logging
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from calibrant.evaluation.likelihood.packed_forward import PackedForward
from calibrant.evaluation.likelihood.padded_forward import PaddedForward
from calibrant.evaluation.likelihood.request_tree import Request, TokenTree, build_tree, common_prefix
from calibrant.evaluation.likelihood.target_tokens import Targets
from calibrant.models.decoders.decoder_choice import fast_decoder
from calibrant.models.structure.output_head import output_head

log = logging.getLogger(__name__)

Result = tuple[float, bool]  # sum of the targets' log-probabilities (nats); whether each was the most probable token
Document = Sequence[Request]

SHORTEST_PREFIX = 16  # a shorter common prefix is not worth a forward pass of its own


class Forward(Protocol):
    """A model's forward pass over trees."""

    def prefix(self, tokens: list[int]) -> Any:
        """Keys and values of a prefix."""
        ...

    def batches(self, trees: Sequence[Sized], tokens: int) -> Iterator[list[int]]:
        """Indices of trees, or of rows of tokens, that go together."""
        ...

    def logits(self, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]], prefix: Any) -> Iterator[Tensor]:
        """Logits at nodes, in chunks."""
        ...

    def hidden(self, rows: Sequence[Sequence[int]], kept: Sequence[int]) -> Tensor:
        """What the output head is given [positions, width] at the last `kept` positions of each row of tokens."""
        ...

    def of_hidden(self, hidden: Tensor) -> Iterator[Tensor]:
        """Logits [rows, vocabulary] of it, in chunks."""
        ...


class Scorer:
    """Scores requests with a model that stays the same object while its weights may change (masks).

    Requests of one document become one tree; a prefix common to all documents of a group (few-shot examples) is
    computed once and its keys and values are reused. The LM head sees scored positions only. Models of declared
    families run on a CPU without padding (`packed`), other models as rows of a batch with tree masks (`padded`); models
    that do not take such a mask get one plain sequence for each distinct request.

    Raises:
        InputError: the model has no output head.
    """

    def __init__(self, model: nn.Module, *, batch_tokens: int = 2048, tree: bool | None = None) -> None:
        """`tree=None` decides, and says so in the log when the plain path is taken; otherwise transformers runs it."""
        self.model = model
        self.batch_tokens = batch_tokens
        self.head = output_head(model)
        packed = fast_decoder(model) if tree is None else None
        self.packed = packed is not None
        if packed is not None:
            self.forward: Forward = PackedForward(packed)
            self.tree = True
            return
        padded = PaddedForward(model)
        self.forward = padded
        if tree is None:
            padded.position_logits.say()
        reason = why_not_tree(model) if tree is None else None
        self.tree = reason is None if tree is None else tree
        if reason is not None:
            log.warning(
                "%s: each text and each choice is a sequence of its own, since %s", type(model).__name__, reason
            )

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
        prefix = self.forward.prefix(documents[0][0].inputs[:skip]) if skip else None
        trees = [build_tree(requests, skip) for requests in documents]
        results: list[list[Result]] = [[] for _ in documents]
        for batch in self.forward.batches(trees, self.batch_tokens):
            scored = self._score_trees([trees[i] for i in batch], [documents[i] for i in batch], prefix)
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
        for batch in self.forward.batches(trees, self.batch_tokens):
            scored = self._score_trees([trees[i] for i in batch], [groups[i] for i in batch], None)
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

    def _score_trees(
        self, trees: Sequence[TokenTree], documents: Sequence[Document], prefix: Any
    ) -> list[list[Result]]:
        targets = Targets(trees, documents)
        for logits in self.forward.logits(trees, targets.nodes, prefix):
            targets.see(logits)
        return targets.results()


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
    leak = (_flat(_shapeless(model).score(documents)) - plain).abs().mean()
    error_size = (tree - plain).abs().mean()
    if not error_size <= 0.3 * leak:
        return f"a probe gave other log-likelihoods (mean difference {error_size:.2g}, {leak:.2g} without the mask)"
    return None


class _Shapeless(PaddedForward):
    """Lays trees out as rows but tells the model nothing about them."""

    def _shape(self, trees: Sequence[TokenTree], width: int, past: int) -> dict[str, Tensor]:
        return {}


def _shapeless(model: nn.Module) -> Scorer:
    scorer = Scorer(model, tree=True)
    scorer.forward = _Shapeless(model)
    return scorer


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
