"""A fast decoder for Llama-architecture models (Touvron et al., 2023), on CPU and GPU.

What makes it faster than a plain loop over the transformers model: weights laid out once for the CPU's matrix units,
those of query, key and value in one matrix; activation, gating and residual sums as part of the products; a key-value
cache allocated once and written in place, attended to without repeating keys (`cache.py`); rotary tables computed
once; the head on the last position only. In float32 the results are transformers' up to rounding; in bfloat16 fewer
intermediate values are rounded.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from calibrant.models.decoders.block_attention import SHORTEST, block_attention
from calibrant.models.decoders.key_value_cache import Cache
from calibrant.models.decoders.laid_out_linear import LaidOutLinear

PREFILL_TOKENS = 4096  # at most so many prefix tokens at once: bounds the memory of long prefixes


@dataclass
class _Layer:
    input_norm: Tensor
    qkv: LaidOutLinear
    out: LaidOutLinear
    mlp_norm: Tensor
    gate: LaidOutLinear
    up: LaidOutLinear
    down: LaidOutLinear


def _fuse(*linears: nn.Linear) -> LaidOutLinear:
    """One linear map that gives the outputs of several, one after the other. Their own weights are freed."""
    weight = (
        torch.cat([linear.weight.detach() for linear in linears]) if len(linears) > 1 else linears[0].weight.detach()
    )
    biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
    for linear in linears:
        linear.weight = nn.Parameter(weight.new_empty(0), requires_grad=False)
    return LaidOutLinear(weight, torch.cat(biases) if biases else None)


def _pair(linear: nn.Linear, width: int) -> nn.Linear:
    """Put the two features of each rotated pair side by side: i and i + width/2 become 2i and 2i + 1 of every head.

    Queries and keys alike, so that their products stay the same; a rotation is then a complex product.
    """
    for parameter in (linear.weight, linear.bias):
        if parameter is not None:
            paired = parameter.data.view(-1, 2, width // 2, *parameter.shape[1:]).transpose(1, 2)
            parameter.data = paired.reshape(parameter.shape)
    return linear


class SteppingLlama:
    """Steps rows that may stand at different positions; rows leave and enter at any step."""

    can_enter = True

    def __init__(self, model: Any) -> None:
        config = model.config
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.embedding: Tensor = model.model.embed_tokens.weight.detach()
        self.norm: Tensor = model.model.norm.weight.detach()
        self.head = LaidOutLinear(model.lm_head.weight.detach())
        self.inverse_frequency: Tensor = model.model.rotary_emb.inv_freq.detach().float()
        self.rope_scale: float = float(model.model.rotary_emb.attention_scaling)
        self.device = self.embedding.device
        self.dtype = self.embedding.dtype
        self.least = torch.tensor((config.hidden_size * config.rms_norm_eps) ** 0.5, device=self.device)
        self.layers = []
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            self.layers.append(
                _Layer(
                    layer.input_layernorm.weight.detach(),
                    _fuse(_pair(attention.q_proj, self.width), _pair(attention.k_proj, self.width), attention.v_proj),
                    _fuse(attention.o_proj),
                    layer.post_attention_layernorm.weight.detach(),
                    _fuse(mlp.gate_proj),
                    _fuse(mlp.up_proj),
                    _fuse(mlp.down_proj),
                )
            )
        self.cache: Cache | None = None
        self._set_lengths([])

    @classmethod
    def from_transformers(cls, model: nn.Module) -> "SteppingLlama":
        """Take over the weights of a loaded LlamaForCausalLM, which cannot be used afterwards."""
        return cls(model)

    def row_bytes(self, length: int) -> int:
        """Bytes of key-value cache for one row, with the room of one layer in which rows are spread out."""
        return 2 * (len(self.layers) + 1) * self.kv_heads * self.width * length * self.embedding.element_size()

    def reset(self, rows: int, length: int) -> None:
        """Allocate the cache for `rows` rows of `length` tokens; forget every row."""
        cache = self.cache
        if cache is None or cache.rows != rows or cache.length != length:
            self.cache = None  # freed before the new one is allocated
            del cache
            self.cache = Cache(len(self.layers), rows, self.kv_heads, length, self.width, self.dtype, self.device)
        else:
            cache.forget()
        positions = torch.arange(length, device=self.device, dtype=torch.float32)
        angles = torch.outer(positions, self.inverse_frequency)
        self.rotation = torch.polar(torch.full_like(angles, self.rope_scale), angles)  # [length, width / 2]
        self._set_lengths([])

    def prefill(self, ids: Tensor) -> Tensor:
        """Enter rows with prefixes [new, t]; the logits of their next token [new, vocabulary]."""
        new, t = ids.shape
        start = len(self.on_host)
        chunk = max(1, PREFILL_TOKENS // t)
        logits = [self._prefill(ids[i : i + chunk], start + i) for i in range(0, new, chunk)]
        self._set_lengths(self.on_host + [t] * new)
        return torch.cat(logits)

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each row [rows]; the logits of the next [rows, vocabulary]."""
        cache, rows, end = self.cache, len(tokens), self.longest + 1
        assert cache is not None
        cache.reserve(end)
        mask = cache.mask(self.lengths, end, self.ragged)
        x = F.embedding(tokens, self.embedding)
        index = torch.arange(rows, device=self.device) if self.ragged else None
        rotation = self.rotation[self.lengths, None] if self.ragged else self.rotation[self.longest]
        for i, layer in enumerate(self.layers):
            fused = self._qkv(layer, x, rotation)
            new = fused[:, self.heads :].view(rows, 2, self.kv_heads, self.width)
            if index is None:
                cache.both[i][:, :rows, :, self.longest] = new.transpose(0, 1)
            else:
                cache.both[i][:, index, :, self.lengths] = new
            x = self._rest(layer, x, cache.attend(i, fused[:, : self.heads], end, mask))
        self._set_lengths([length + 1 for length in self.on_host])
        return self.head(self._rms(x, self.norm))

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows (int64 indices, ascending)."""
        assert self.cache is not None
        self.cache.keep(rows, self.longest)
        self._set_lengths([self.on_host[i] for i in rows.tolist()])

    def _set_lengths(self, lengths: list[int]) -> None:
        self.on_host = lengths  # which length is the longest is asked at every step: a GPU would make us wait
        self.lengths = torch.tensor(lengths, dtype=torch.int64, device=self.device)
        self.longest = max(lengths, default=0)
        self.ragged = self.longest != min(lengths, default=0)

    def _prefill(self, ids: Tensor, start: int) -> Tensor:
        rows, t = ids.shape
        cache = self.cache
        assert cache is not None
        cache.reserve(t)
        x = F.embedding(ids, self.embedding)
        rotation = self.rotation[:t, None]
        for i, layer in enumerate(self.layers):
            fused = self._qkv(layer, x, rotation).transpose(1, 2)
            q, k, v = fused.tensor_split((self.heads, self.heads + self.kv_heads), dim=1)
            cache.both[i][0, start : start + rows, :, :t] = k
            cache.both[i][1, start : start + rows, :, :t] = v
            if cache.products and t >= SHORTEST:
                mixed = block_attention(q, k, v)
            else:
                gqa = self.heads != self.kv_heads
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=gqa).transpose(1, 2)
            x = self._rest(layer, x, mixed.reshape(rows, t, -1))
        return self.head(self._rms(x[:, -1], self.norm))

    def _qkv(self, layer: _Layer, x: Tensor, rotation: Tensor) -> Tensor:
        """Queries, keys (both rotated) and values of hidden states [..., hidden]: [..., all their heads, width]."""
        fused = layer.qkv(self._rms(x, layer.input_norm))
        fused = fused.view(*fused.shape[:-1], self.heads + 2 * self.kv_heads, self.width)
        turned = fused[..., : self.heads + self.kv_heads, :]
        pairs = torch.view_as_complex(turned.float().view(*turned.shape[:-1], -1, 2))
        turned.copy_(torch.view_as_real(pairs * rotation).flatten(-2))
        return fused

    def _rest(self, layer: _Layer, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of a decoder layer after attention: output projection, then the gated MLP, both residual."""
        x = layer.out.plus(mixed, x)
        inner = self._rms(x, layer.mlp_norm)
        return layer.down.plus(layer.up.times(inner, layer.gate(inner, "swish")), x)

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        # sqrt(sum of squares + n eps), then x sqrt(n) / that: few passes over x.
        wide = x.float()
        norm = torch.hypot(torch.linalg.vector_norm(wide, dim=-1, keepdim=True), self.least)
        normed: Tensor = (wide * (x.shape[-1] ** 0.5 / norm)).to(x.dtype)
        return weight * normed
