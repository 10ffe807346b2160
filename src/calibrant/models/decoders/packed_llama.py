"""A Llama decoder (Touvron et al., 2023) over sequences that lie one after the other, without padding, on CPU.

What makes it faster than the transformers model: no token is padding; query, key and value are one product; weights are
laid out once for the CPU's matrix units, with activation, gate and residual sums inside the products
(`laid_out_linear`); the caller chooses attention (`packed_attention`); the last layer computes only the positions
that are asked for. In float32 the arithmetic is transformers'; in bfloat16 a few results are rounded once instead of
twice.

The transformers model stays usable, and masks that are put into it are seen here. The layout is a copy of the weights,
which models above LARGEST_PACKED do without.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from calibrant.models.decoders.laid_out_linear import LaidOutLinear
from calibrant.models.decoders.llama_likeness import unlike_llama
from calibrant.models.decoders.packed_attention import PackedAttention

log = logging.getLogger(__name__)

TOLERANCE = 0.1  # mean difference of logits, over their standard deviation: bfloat16 rounds noticeably
MOST_TOKENS = 1024  # at a time: activations then stay in a CPU's cache, and products are as fast as ever
PROBE = 8  # tokens on which both forward passes are compared
LARGEST_PACKED = 4 << 30  # bytes of weights; a rule of free memory would change results from run to run
_known: "WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], PackedLlama]]" = WeakKeyDictionary()  # by its model


class Attention(Protocol):
    """Mixes values; sees the layer's number and queries, keys and values of all tokens."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [tokens, heads, width], k and v [tokens, kv heads, width] -> [tokens, heads * width]."""
        ...


def unsupported(model: nn.Module) -> str | None:
    """Why a model cannot be run here, or None when it can."""
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) != "llama" or type(model).__name__ != "LlamaForCausalLM":
        return f"it is a {type(model).__name__}, not a LlamaForCausalLM"
    if reason := unlike_llama(config):
        return reason
    if {parameter.device.type for parameter in model.parameters()} != {"cpu"}:
        return "it is not on the CPU"
    if len({parameter.dtype for parameter in model.parameters()}) > 1:
        return "its weights have several number formats"
    return None


def packed_llama(model: Any) -> "PackedLlama | None":
    """The packed decoder of a model that can be run here, by its config and its own logits on a few tokens; or None.

    Of a model whose weights are what they were when it was last asked for, it is that decoder again.
    """
    versions = [(parameter.data_ptr(), parameter._version) for parameter in model.parameters()]
    if (known := _known.get(model)) is not None and known[0] == versions:
        return known[1]
    if unsupported(model):
        return None
    made = PackedLlama(model)
    vocabulary = model.config.vocab_size
    ids = [(i + 1) * vocabulary // (PROBE + 1) for i in range(PROBE)]  # not special tokens, which magnify rounding
    with torch.no_grad():
        expected = model(torch.tensor([ids]), use_cache=False).logits[0].float()
        found = made.head(made(ids, range(PROBE), PackedAttention([PROBE], made.dtype))).float()
    if (expected - found).abs().mean() <= TOLERANCE * expected.std():
        _known[model] = (versions, made)
        return made
    log.warning("%s gives other logits than its config says; transformers runs it, more slowly", type(model).__name__)
    return None


class _Product:
    """Linear layers of one input as one product, whose layout follows the layers' weights when those change."""

    def __init__(self, *modules: nn.Linear, packed: bool = True) -> None:
        self.modules = modules
        self.packed = packed
        self.versions: tuple[int, ...] = ()

    @property
    def linear(self) -> LaidOutLinear:
        """The product; made anew when masks have been put into the weights or taken out of them."""
        versions = tuple(parameter._version for module in self.modules for parameter in module.parameters())
        if versions != self.versions:
            weights = [module.weight.detach() for module in self.modules]
            biases = [module.bias.detach() for module in self.modules if module.bias is not None]
            weight = torch.cat(weights) if len(weights) > 1 else weights[0]
            self._linear = LaidOutLinear(weight, torch.cat(biases) if biases else None, pack=self.packed)
            self.versions = versions
        return self._linear


@dataclass(frozen=True)
class _Layer:
    input_norm: Tensor
    qkv: _Product
    out: _Product
    mlp_norm: Tensor
    gate: _Product
    up: _Product
    down: _Product


class PackedLlama:
    """The decoder of a `LlamaForCausalLM`: tokens in, hidden states after the last norm out; the head is apart."""

    def __init__(self, model: Any) -> None:
        """Take over the weights of a model for which `unsupported` is None."""
        config = model.config
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.model = model.model
        self.eps: float = config.rms_norm_eps
        packed = sum(p.numel() * p.element_size() for p in model.parameters()) <= LARGEST_PACKED
        self.layers = [
            _Layer(
                layer.input_layernorm.weight,
                _Product(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj, packed=packed),
                _Product(layer.self_attn.o_proj, packed=packed),
                layer.post_attention_layernorm.weight,
                _Product(layer.mlp.gate_proj, packed=packed),
                _Product(layer.mlp.up_proj, packed=packed),
                _Product(layer.mlp.down_proj, packed=packed),
            )
            for layer in self.model.layers
        ]
        self._head = _Product(model.lm_head, packed=packed)
        self.dtype: torch.dtype = model.lm_head.weight.dtype
        self.cos = self.sin = torch.empty(0)

    @torch.no_grad()
    def __call__(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        attention: Attention,
        keep: Tensor | None = None,
        cache: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """Hidden states [tokens, hidden], or [len(keep), hidden] at the positions `keep` (int64 indices).

        Args:
            tokens: of all sequences, one after the other.
            positions: the position of each in its own sequence.
            attention: which tokens see which.
            keep: None for all.
            cache: receives keys and values [tokens, kv heads, width] of every layer.
        """
        x = F.embedding(torch.tensor(tokens), self.model.embed_tokens.weight)
        cos, sin = self._rotary(torch.tensor(positions), x.dtype)
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            states = layer.qkv.linear(self._rms(x, layer.input_norm)).view(len(x), -1, self.width)
            rotated = states[:, : self.heads + self.kv_heads]
            rotated = torch.addcmul(rotated * cos, rotated.roll(self.width // 2, dims=-1), sin)
            q, k, v = rotated[:, : self.heads], rotated[:, self.heads :], states[:, -self.kv_heads :]
            if cache is not None:
                cache.append((k, v))
            mixed = attention(index, q, k, v)
            if index == last and keep is not None:
                x, mixed = x[keep], mixed[keep]
            x = layer.out.linear.plus(mixed, x)
            normed = self._rms(x, layer.mlp_norm)
            gated = layer.up.linear.times(normed, layer.gate.linear(normed, "swish"))
            x = layer.down.linear.plus(gated, x)
        return self._rms(x, self.model.norm.weight)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [rows, vocabulary] of hidden states [rows, hidden]."""
        return self._head.linear(hidden)

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return weight * wide.to(x.dtype)

    def _rotary(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines [tokens, heads + kv heads, width]; (a, b) -> (-b, a) has its sign in the sines."""
        needed = int(positions.max()) + 1
        if len(self.cos) < needed or self.cos.dtype != dtype:
            rotary = self.model.rotary_emb
            places = torch.arange(max(needed, 2 * len(self.cos)), dtype=torch.float32)
            angles = torch.outer(places, rotary.inv_freq.float()).repeat(1, 2)
            self.cos = (angles.cos() * rotary.attention_scaling).to(dtype)
            self.sin = (angles.sin() * rotary.attention_scaling).to(dtype)
            self.sin[:, : self.width // 2] *= -1
        # The same for all heads, written out: products with a broadcast middle dimension take twice as long.
        shape = (-1, self.heads + self.kv_heads, -1)
        return self.cos[positions, None].expand(shape).contiguous(), self.sin[positions, None].expand(
            shape
        ).contiguous()
