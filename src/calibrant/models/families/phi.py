"""Phi 3 (Abdin et al., 2024): Llama with fused linears, a window, and in some only a share of each head turned."""

from calibrant.models.families.family import Family, Names

PHI3 = Family(
    "phi3",
    "Phi3Model",
    names=Names(query_key_value=("self_attn.qkv_proj",), gate_up=("mlp.gate_up_proj",)),
    window="sliding_window",
    without_effect=("resid_pdrop", "embd_pdrop", "original_max_position_embeddings", "partial_rotary_factor"),
)
