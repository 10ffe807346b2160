"""OpenLM (DCLM-7B; Li et al., 2024): LayerNorm, norms of whole queries and keys, fused linears."""

from calibrant.models.families.family import Family, Names, Norm

OPENLM = Family(
    "openlm",
    "OpenLMModel",
    names=Names(
        embedding="tok_embeddings",
        embedding_norm="post_embed_norm",
        rotary=None,
        before_attention="attention_norm",
        before_mlp="ffn_norm",
        query_key_value=("attention.in_proj",),
        query_norm="attention.q_norm",
        key_norm="attention.k_norm",
        out="attention.out_proj",
        gate_up=("feed_forward.w12",),
        down="feed_forward.w3",
    ),
    norm=Norm(kind="layer"),
    query_key_norm="whole",
    activation="ffn_type",
    eps="norm_eps",
    rotary_base=10000.0,
    sizes=("norm_type", "apply_qk_norm", "post_embed_norm", "weight_tying"),
    only={
        "positional_embedding_type": ("rotary",),
        "attn_name": ("auto", "xformers_attn", "xformers_attn_variable_length", "torch_attn"),
        "moe_freq": (0,),
    },
    without_effect=("seq_len", "dim", "n_layers", "n_heads"),
)
