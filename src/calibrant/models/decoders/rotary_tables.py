"""Rotary position embeddings (Su et al., 2021): cosines and sines by position, and the turn of queries and keys."""

from typing import Any

import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.models.families.decoder_plan import Plan
from calibrant.models.families.recognition import beyond

Turn = tuple[Tensor, Tensor]  # cosines and sines [tokens, heads, turned width]; the sines carry the sign


class RotaryTables:
    """Tables of each kind of layers, made longer when they are needed so."""

    def __init__(self, module: Any, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
        """`module` is transformers', None where the declaration gives the base."""
        self.plan = plan
        self.heads = plan.heads + plan.kv_heads
        self.device = device
        self.dtype = torch.float32 if plan.family.rotation == "float32" else dtype
        self._frequencies: dict[str, tuple[Tensor, float]] = {}
        self._tables: dict[str, Turn] = {}
        for kind in sorted({layer.rotary for layer in plan.layers if layer.rotary is not None}):
            prefix = f"{kind}_" if kind else ""
            if module is None:
                exponent = torch.arange(0, plan.width, 2, dtype=torch.float32) / plan.width
                assert plan.family.rotary_base is not None
                found, scale = plan.family.rotary_base**-exponent, 1.0
            else:
                # longrope and dynamic put those of the longest text so far into inv_freq
                original = getattr(module, f"{prefix}original_inv_freq", None)
                found = getattr(module, f"{prefix}inv_freq") if original is None else original
                found = found.detach().float()
                scale = float(getattr(module, f"{prefix}attention_scaling"))
            self._frequencies[kind] = (found.to(device), scale)

    def reserve(self, length: int) -> None:
        """Make tables for positions before `length`.

        Raises:
            InputError: this model's frequencies are others for a text of that length.
        """
        if reason := beyond(self.plan, length):
            raise InputError(f"{self.plan.family.model_type}: {reason}; give shorter texts")
        for kind, (frequencies, scale) in self._frequencies.items():
            known = self._tables.get(kind)
            if known is not None and len(known[0]) >= length:
                continue
            places = torch.arange(max(length, 2 * len(known[0]) if known else 0), device=self.device).float()
            angles = torch.outer(places, frequencies).repeat(1, 2)
            cos, sin = ((f(angles) * scale).to(self.dtype) for f in (torch.cos, torch.sin))
            sin[:, : sin.shape[1] // 2] *= -1  # (a, b) -> (-b, a) has its sign here
            self._tables[kind] = (cos, sin)

    def at(self, positions: Tensor) -> dict[str, Turn]:
        """Of each kind of layers, what turns queries and keys at these positions (int64 [tokens], all reserved).

        The same for all heads, written out: products with a broadcast middle dimension take twice as long.
        """
        shape = (-1, self.heads, -1)
        return {
            kind: (cos[positions, None].expand(shape).contiguous(), sin[positions, None].expand(shape).contiguous())
            for kind, (cos, sin) in self._tables.items()
        }


def turned(states: Tensor, turn: Turn) -> Tensor:
    """Queries and keys [tokens, heads, width], their first features turned: as many as the tables have columns."""
    cos, sin = turn
    share = cos.shape[-1]
    wide = states.to(cos.dtype) if states.dtype != cos.dtype else states
    part = wide if share == states.shape[-1] else wide[..., :share]
    rotated = torch.addcmul(part * cos, part.roll(share // 2, dims=-1), sin)
    whole = rotated if share == states.shape[-1] else torch.cat([rotated, wide[..., share:]], -1)
    return whole.to(states.dtype)
