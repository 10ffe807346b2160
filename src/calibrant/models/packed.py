"""A Llama decoder (Touvron et al., 2023) over sequences that lie one after the other, without padding, on CPU.

What makes it faster than the transformers model: no token is padding; query, key and value weights lie in one matrix,
gate and up in another; attention is a choice of the caller (`models.attend`); the last layer computes only the
positions that are asked for. The arithmetic is otherwise transformers': the same roundings in the same places, so
float32 results are the same but for the order of sums.

The transformers model stays usable: its weights become views into the fused matrices, and masks that are put into it
are seen here.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

STATIC_ROPE = ("default", "linear", "llama3")
PROBE = 8  # tokens on which both forward passes are compared


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
    assert config is not None
    if config.hidden_act != "silu":
        return f"hidden_act is {config.hidden_act}, not silu"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in STATIC_ROPE:
        return f"rope_type is {rope}, not {', '.join(STATIC_ROPE)}"
    if getattr(config, "quantization_config", None):
        return "its weights are quantised"
    if {parameter.device.type for parameter in model.parameters()} != {"cpu"}:
        return "it is not on the CPU"
    if len({parameter.dtype for parameter in model.parameters()}) > 1:
        return "its weights have several number formats"
    return None


class _Fused:
    """Linear maps of one input as one map. Their own weights become views of the fused one."""

    def __init__(self, *linears: nn.Linear) -> None:
        self.weight = torch.cat([linear.weight.detach() for linear in linears])
        biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
        self.bias = torch.cat(biases) if biases else None
        start = 0
        for linear in linears:
            end = start + len(linear.weight)
            linear.weight = nn.Parameter(self.weight[start:end], requires_grad=False)
            if self.bias is not None:
                linear.bias = nn.Parameter(self.bias[start:end], requires_grad=False)
            start = end

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


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
        self.fused = [
            (
                _Fused(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                _Fused(layer.mlp.gate_proj, layer.mlp.up_proj),
            )
            for layer in self.model.layers
        ]
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
        last = len(self.fused) - 1
        for index, (layer, (qkv, gate_up)) in enumerate(zip(self.model.layers, self.fused, strict=True)):
            states = qkv(self._rms(x, layer.input_layernorm.weight)).view(len(x), -1, self.width)
            rotated = states[:, : self.heads + self.kv_heads]
            rotated = rotated * cos + rotated.roll(self.width // 2, dims=-1) * sin
            q, k, v = rotated[:, : self.heads], rotated[:, self.heads :], states[:, -self.kv_heads :]
            if cache is not None:
                cache.append((k, v))
            mixed = attention(index, q, k, v)
            if index == last and keep is not None:
                x, mixed = x[keep], mixed[keep]
            x = x + layer.self_attn.o_proj(mixed)
            gate, up = gate_up(self._rms(x, layer.post_attention_layernorm.weight)).chunk(2, dim=-1)
            x = x + layer.mlp.down_proj(F.silu(gate).mul_(up))
        return self._rms(x, self.model.norm.weight)

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return weight * wide.to(x.dtype)

    def _rotary(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines [tokens, 1, width]; the sign of the half-turn (a, b) -> (-b, a) is in the sines."""
        needed = int(positions.max()) + 1
        if len(self.cos) < needed or self.cos.dtype != dtype:
            rotary = self.model.rotary_emb
            places = torch.arange(max(needed, 2 * len(self.cos)), dtype=torch.float32)
            angles = torch.outer(places, rotary.inv_freq.float()).repeat(1, 2)
            self.cos = (angles.cos() * rotary.attention_scaling).to(dtype)
            self.sin = (angles.sin() * rotary.attention_scaling).to(dtype)
            self.sin[:, : self.width // 2] *= -1
        return self.cos[positions, None], self.sin[positions, None]
