"""Our own forward pass of the decoders that `models/families` declares, for all that runs a model on text.

Scoring and evaluation give it sequences one after the other, without padding, on a CPU (`packed_attention`); generation
steps rows over a cache (`stepping_decoder`). What makes it faster than transformers' modules: queries, keys and values
are one product; weights are laid out once for the CPU, with activations, gates and residual sums inside the products
(`laid_out_linear`); the last layer computes only the positions that are asked for. Results differ from transformers' in
the order of additions, and in bfloat16 a few are rounded once instead of twice.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from calibrant.models.decoders.attention_rule import AttentionRule
from calibrant.models.decoders.layer_forward import LayerForward
from calibrant.models.decoders.normalisation import norm_of
from calibrant.models.decoders.packed_attention import KeysValues, PackedAttention
from calibrant.models.decoders.product import Part, Product, let_go
from calibrant.models.decoders.rotary_tables import RotaryTables
from calibrant.models.families.decoder_plan import Plan, UnlikeError
from calibrant.models.families.recognition import plan_of

MOST_TOKENS = 1024  # at a time: activations then stay in a CPU's cache, and products are as fast as ever
LARGEST_PACKED = 4 << 30  # bytes of weights; a rule of free memory would change results from run to run


class Attention(Protocol):
    """Mixes values; sees the layer's number and queries, keys and values of all tokens."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [tokens, heads, width], k and v [tokens, kv heads, width] -> [tokens, heads * width]."""
        ...


class Decoder:
    """Tokens in, hidden states after the last norm out; the head is apart.

    The transformers model stays usable, and masks that are put into it are seen here, until `take_over`.
    """

    def __init__(self, model: Any, *, pack: bool | None = None) -> None:
        """Read the modules of a loaded model.

        Args:
            model: transformers'.
            pack: lay out a copy of the weights; None: of models up to LARGEST_PACKED.

        Raises:
            UnlikeError: no declaration covers it.
        """
        self.plan: Plan = plan_of(model.config)
        names = self.plan.family.names
        root, head = model.get_decoder(), model.get_output_embeddings()
        if type(root).__name__ != self.plan.family.decoder:
            raise UnlikeError(f"its decoder is a {type(root).__name__}, not a {self.plan.family.decoder}")
        if not isinstance(head, nn.Linear):
            raise UnlikeError(f"its output head is a {type(head).__name__}, not a linear layer")
        if pack is None:
            weights = {*root.parameters(), *head.parameters()}
            pack = sum(weight.numel() * weight.element_size() for weight in weights) <= LARGEST_PACKED
        try:
            embedding: Any = root.get_submodule(names.embedding)
            layers: Any = root.get_submodule(names.layers)
            self.layers = [
                LayerForward(module, self.plan, index, pack=pack)
                for index, module in enumerate(layers[: len(self.plan.layers)])
            ]
            norms = [name and root.get_submodule(name) for name in (names.embedding_norm, names.last_norm)]
            rotary = None if names.rotary is None else root.get_submodule(names.rotary)
            self._embedding: Tensor = embedding.weight.detach()
            self.device, self.dtype = self._embedding.device, self._embedding.dtype
            self.vocabulary = len(self._embedding)
            self.rotary = RotaryTables(rotary, self.plan, self.device, self.dtype)
        except (AttributeError, ValueError) as error:
            raise UnlikeError(f"its modules are not {self.plan.family.model_type}'s ({error})") from None
        if len(self.layers) != len(self.plan.layers):
            raise UnlikeError(f"it has {len(self.layers)} layers, and its configuration {len(self.plan.layers)}")
        self._embedding_norm, self._norm = (norm_of(norm, self.plan.family.norm, self.plan.eps) for norm in norms)
        self._head = Product([Part(head)], pack=pack)
        self._tied = embedding.weight is head.weight
        factor = self.plan.embedding_factor
        self._factor: Tensor | float = factor
        if (said := self.plan.family.embedding_factor) is not None and said.rounds:
            self._factor = torch.tensor(factor, dtype=torch.float32).to(self._embedding)
        plan = self.plan
        self.rules = tuple(AttentionRule(layer.window, plan.score_factor, plan.score_cap) for layer in plan.layers)

    @torch.no_grad()
    def __call__(
        self,
        tokens: Sequence[int] | Tensor,
        positions: Sequence[int] | Tensor,
        attention: Attention,
        keep: Tensor | None = None,
        cache: list[KeysValues] | None = None,
    ) -> Tensor:
        """Hidden states [tokens, hidden], or [len(keep), hidden] at the positions `keep` (int64 indices).

        Args:
            tokens: of all sequences, one after the other.
            positions: the position of each in its own sequence; a tensor's are below what `rotary` has reserved.
            attention: which tokens see which.
            keep: None for all.
            cache: receives keys and values [tokens, kv heads, width] of every layer.
        """
        if not isinstance(positions, Tensor):
            self.rotary.reserve(max(positions) + 1)
            positions = torch.tensor(positions, device=self.device)
        turns = self.rotary.at(positions)
        x = self.embed(torch.as_tensor(tokens, device=self.device))
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            q, k, v = layer.queries_keys_values(x, turns)
            if cache is not None:
                cache.append((k, v))
            mixed = attention(index, q, k, v)
            if index == last and keep is not None:
                x, mixed = x[keep], mixed[keep]
            x = layer.rest(x, mixed)
        return x if self._norm is None else self._norm(x)

    def embed(self, tokens: Tensor) -> Tensor:
        """Hidden states [tokens, hidden] before the first layer."""
        x = F.embedding(tokens, self._embedding)
        if self.plan.embedding_factor != 1:
            x = x * self._factor
        return x if self._embedding_norm is None else self._embedding_norm(x)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [rows, vocabulary] of hidden states [rows, hidden]."""
        logits = self._head(hidden)
        if self.plan.logit_divisor != 1:
            logits = logits / self.plan.logit_divisor
        if self.plan.logit_cap is not None:
            logits = torch.tanh(logits / self.plan.logit_cap) * self.plan.logit_cap
        return logits

    def attention(
        self,
        lengths: Sequence[int],
        ends: Sequence[Sequence[int]] | None = None,
        prefix: Sequence[KeysValues] | None = None,
    ) -> PackedAttention:
        """Attention by this model's rules among sequences or trees; arguments as `PackedAttention` has them."""
        return PackedAttention(lengths, self.dtype, ends, prefix, self.rules, self.device)

    def take_over(self) -> None:
        """Lay out the weights for good, layer after layer; the model's own modules cannot be used afterwards."""
        for layer in self.layers:
            layer.take_over()
        modules = self._head.take_over()
        if not self._tied:
            let_go(modules)
