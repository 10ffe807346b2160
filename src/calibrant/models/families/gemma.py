"""Gemma 2 (2024): norms around, soft caps, every other layer with a window; Gemma 3 (2025): its text decoder."""

from dataclasses import replace

from calibrant.models.families.family import Family, Names, Norm, Power

_AROUND = Names(
    after_attention="post_attention_layernorm",
    before_mlp="pre_feedforward_layernorm",
    after_mlp="post_feedforward_layernorm",
)
_AROUND_NORMED = replace(_AROUND, query_norm="self_attn.q_norm", key_norm="self_attn.k_norm")
_NORM = Norm(gain="one more", rounds="after gain")
_FORWARD_ONLY = {"use_bidirectional_attention": (None, False)}

GEMMA2 = Family(
    "gemma2",
    "Gemma2Model",
    names=_AROUND,
    norm=_NORM,
    activation="hidden_activation",
    score_factor=Power("query_pre_attn_scalar", -0.5),
    score_cap="attn_logit_softcapping",
    logit_cap="final_logit_softcapping",
    embedding_factor=Power("hidden_size", 0.5, rounds=True),
    window="sliding_window",
    kinds="layer_types",
    only=_FORWARD_ONLY,
    without_effect=("hidden_act",),
)
GEMMA3 = Family(
    "gemma3_text",
    "Gemma3TextModel",
    names=_AROUND_NORMED,
    norm=_NORM,
    activation="hidden_activation",
    score_factor=Power("query_pre_attn_scalar", -0.5),
    logit_cap="final_logit_softcapping",
    embedding_factor=Power("hidden_size", 0.5, rounds=True),
    window="sliding_window",
    kinds="layer_types",
    rotary_of_kinds=True,
    only=_FORWARD_ONLY,
    without_effect=("hidden_act", "attn_logit_softcapping", "sliding_window_pattern", "_sliding_window_pattern"),
)
