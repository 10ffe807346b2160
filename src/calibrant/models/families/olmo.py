"""OLMo 2 (2025): norms after attention and MLP, and of whole queries and keys; OLMoE (2024): experts, clipping."""

from calibrant.models.families.family import Experts, Family, Names, Norm

OLMO2 = Family(
    "olmo2",
    "Olmo2Model",
    names=Names(
        before_attention=None,
        after_attention="post_attention_layernorm",
        before_mlp=None,
        after_mlp="post_feedforward_layernorm",
        query_norm="self_attn.q_norm",
        key_norm="self_attn.k_norm",
    ),
    norm=Norm(rounds="after gain"),
    query_key_norm="whole",
    rotation="float32",
)
OLMOE = Family(
    "olmoe",
    "OlmoeModel",
    names=Names(query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"),
    query_key_norm="whole",
    clip="clip_qkv",
    experts=Experts(normalised="norm_topk_prob"),
    sizes=("num_experts", "num_local_experts"),
    without_effect=("output_router_logits", "router_aux_loss_coef"),
)
