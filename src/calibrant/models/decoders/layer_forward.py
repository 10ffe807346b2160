"""One decoder layer as its family declares it: what stands before attention, and what after it."""

from typing import Any

import torch
from torch import Tensor, nn

from calibrant.models.decoders.expert_mixture import ExpertMixture
from calibrant.models.decoders.normalisation import norm_of, rms
from calibrant.models.decoders.product import Part, Product, let_go
from calibrant.models.decoders.rotary_tables import Turn, turned
from calibrant.models.families.decoder_plan import Plan


class LayerForward:
    """Computes a layer from the modules of transformers' own; attention itself is the caller's."""

    def __init__(self, module: nn.Module, plan: Plan, index: int, *, pack: bool) -> None:
        """`pack`: as for `Product`.

        Raises:
            AttributeError: a module that the declaration names is not there.
            ValueError: a linear layer has other sizes than the configuration says.
        """
        self.plan = plan
        self.rotary = plan.layers[index].rotary
        names, family = plan.family.names, plan.family

        def part(name: str | None) -> Any:
            return None if name is None else module.get_submodule(name)

        before_attention, after_attention, before_mlp, after_mlp = (
            norm_of(part(name), family.norm, plan.eps)
            for name in (names.before_attention, names.after_attention, names.before_mlp, names.after_mlp)
        )
        self.before_attention, self.after_attention = before_attention, after_attention
        self.before_mlp, self.after_mlp = before_mlp, after_mlp
        self.query_key_value = Product([Part(part(name)) for name in names.query_key_value], pack=pack)
        rows = sum(len(each.weight) for each in self.query_key_value.parts)
        if rows != (plan.heads + 2 * plan.kv_heads) * plan.width:
            raise ValueError(f"queries, keys and values have {rows} rows, not what its configuration says")
        query_norm, key_norm = part(names.query_norm), part(names.key_norm)
        self._head_norms: tuple[Any, Any] | None = None
        self._whole_norms: list[Any] | None = None
        if query_norm is not None and not isinstance(query_norm, nn.Identity):
            if family.query_key_norm == "head":
                self._head_norms = (query_norm, key_norm)
            else:
                self._whole_norms = [norm_of(norm, family.norm, plan.eps) for norm in (query_norm, key_norm)]
        self.out = Product([Part(part(names.out))], pack=pack)
        self.experts: ExpertMixture | None = None
        self.gate = self.up = self.down = None
        if family.experts is not None and _has(module, family.experts.stack):
            self.experts = ExpertMixture(part(family.experts.router), part(family.experts.stack), plan)
            return
        parts = [part(name) for name in names.gate_up]
        if len(parts) == 1:
            half = len(parts[0].weight) // 2
            gate, up = Part(parts[0], (0, half)), Part(parts[0], (half, 2 * half))
        else:
            gate, up = map(Part, parts)
        self.gate, self.up = Product([gate], pack=pack), Product([up], pack=pack)
        self.down = Product([Part(part(names.down))], pack=pack)

    def take_over(self) -> None:
        """Lay out the weights for good; the model's own modules cannot be used afterwards."""
        products = (self.query_key_value, self.out, self.gate, self.up, self.down)
        let_go([module for product in products if product is not None for module in product.take_over()])

    def queries_keys_values(self, x: Tensor, turns: dict[str, Turn]) -> tuple[Tensor, Tensor, Tensor]:
        """Of hidden states [tokens, hidden]: queries [tokens, heads, width], keys and values [tokens, kv heads, width].

        `turns` are those of the tokens' positions, by kind of layer.
        """
        plan = self.plan
        heads, both = plan.heads, plan.heads + plan.kv_heads
        states = self.query_key_value(x if self.before_attention is None else self.before_attention(x))
        if self._whole_norms is not None:
            query_norm, key_norm = self._whole_norms
            q, k, v = states.tensor_split((heads * plan.width, both * plan.width), -1)
            states = torch.cat([query_norm(q), key_norm(k), v], -1)
        if plan.clip is not None:
            states = states.clamp(-plan.clip, plan.clip)
        states = states.view(len(x), -1, plan.width)
        queries_keys = states[:, :both]
        if self._head_norms is not None:
            query, key = (norm.weight.detach() for norm in self._head_norms)
            gains = torch.cat([query.expand(heads, -1), key.expand(plan.kv_heads, -1)])
            queries_keys = rms(queries_keys, gains, plan.family.norm, plan.eps)
        if self.rotary is not None:
            queries_keys = turned(queries_keys, turns[self.rotary])
        return queries_keys[:, :heads], queries_keys[:, heads:], states[:, both:]

    def rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Hidden states after the layer [tokens, hidden], from those before it and mixed values [tokens, all heads]."""
        factor = self.plan.residual_factor
        if self.after_attention is None and factor == 1:
            x = self.out.plus(mixed, x)
        else:
            x = _added(x, self.out(mixed), self.after_attention, factor)
        inner = x if self.before_mlp is None else self.before_mlp(x)
        if self.experts is not None:
            return _added(x, self.experts(inner), self.after_mlp, factor)
        assert self.gate is not None
        assert self.up is not None
        assert self.down is not None
        gated = self.up.times(inner, self.gate(inner, self.plan.activation))
        if self.after_mlp is None and factor == 1:
            return self.down.plus(gated, x)
        return _added(x, self.down(gated), self.after_mlp, factor)


def _added(x: Tensor, new: Tensor, norm: Any, factor: float) -> Tensor:
    new = new if norm is None else norm(new)
    return x + new if factor == 1 else x + new * factor


def _has(module: nn.Module, name: str) -> bool:
    try:
        module.get_submodule(name)
    except AttributeError:
        return False
    return True
