"""Let transformers' models use `block_attention` where that is made for the call, and PyTorch's kernel elsewhere.

`devices.choose_attention` says for which device and number format.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from calibrant.models.compute.devices import BLOCK_ATTENTION, choose_attention
from calibrant.models.decoders.block_attention import block_attention, gains

UNKNOWN = ("position_bias", "softcap", "s_aux", "cache", "head_mask")  # arguments that change what is computed

log = logging.getLogger(__name__)
_said: set[str] = set()


def why_not(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    dropout: float,
    is_causal: bool | None,
    others: dict[str, Any],
) -> str | None:
    """Why `block_attention` does not do for a call of a transformers model, or None if it does."""
    if attention_mask is not None:
        return "a mask other than the causal one (padding, a window, packed sequences)"
    if not (getattr(module, "is_causal", True) if is_causal is None else is_causal):
        return "attention that is not causal"
    if query.shape[2] != key.shape[2]:
        return "as many queries as keys are needed without a mask"
    if dropout:
        return "dropout"
    if query.requires_grad or key.requires_grad:
        return "gradients"
    if choose_attention(query.device, query.dtype) != BLOCK_ATTENTION:
        return f"{query.dtype} on {query.device.type}"
    if not gains(query.dtype, query.shape[2]):
        return f"{query.shape[2]} queries in {query.dtype}"
    window = others.get("sliding_window")
    if window is not None and window < query.shape[2]:
        return "a sliding window"
    for name in UNKNOWN:
        if others.get(name) is not None:
            return name
    return None


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """For transformers: `block_attention`, or PyTorch's own kernel with the reason in the log, once."""
    reason = why_not(module, query, key, attention_mask, dropout, is_causal, kwargs)
    if reason is None:
        return block_attention(query, key, value, scaling), None
    if reason not in _said:
        _said.add(reason)
        log.info("PyTorch's attention is used where block attention is not made for it: %s", reason)
    attended, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout, scaling, is_causal, **kwargs
    )
    return attended, None


def use_attention(model: Any, device: torch.device, dtype: torch.dtype, name: str = "auto") -> str:
    """Let a transformers model that is to run here use `choose_attention`'s choice; returns the name in use.

    Models that transformers runs otherwise than with PyTorch's kernel (because of soft caps, sinks, ALiBi, ...),
    or that do not call attention through its interface, keep what they have.

    Raises:
        InputError: an unknown name.
    """
    current = str(model.config._attn_implementation)
    wanted = choose_attention(device, dtype, name)
    if wanted != BLOCK_ATTENTION or current != "sdpa" or not model._can_set_attn_implementation():
        return current
    AttentionInterface.register(BLOCK_ATTENTION, attention_forward)
    AttentionMaskInterface.register(BLOCK_ATTENTION, sdpa_mask)
    text = model.config.get_text_config()
    parts = [name for name in model.config.sub_configs if getattr(model.config, name, None) is text]  # not the towers
    model.set_attn_implementation(dict.fromkeys(["", *parts], BLOCK_ATTENTION))
    return str(model.config._attn_implementation)
