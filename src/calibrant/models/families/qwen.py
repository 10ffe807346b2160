"""Qwen 2 (biases of queries, keys, values), Qwen 3 (norms of queries and keys instead) and its mixture of experts."""

from calibrant.models.families.family import Experts, Family, Names

_NORMED = Names(query_norm="self_attn.q_norm", key_norm="self_attn.k_norm")
_SLIDING = ("use_sliding_window", "max_window_layers")  # transformers writes what follows of them into layer_types

QWEN2 = Family("qwen2", "Qwen2Model", window="sliding_window", kinds="layer_types", without_effect=_SLIDING)
QWEN3 = Family(
    "qwen3", "Qwen3Model", names=_NORMED, window="sliding_window", kinds="layer_types", without_effect=_SLIDING
)
QWEN3_MOE = Family(
    "qwen3_moe",
    "Qwen3MoeModel",
    names=_NORMED,
    window="sliding_window",
    experts=Experts(normalised="norm_topk_prob"),
    sizes=("num_experts", "num_local_experts", "moe_intermediate_size", "decoder_sparse_step", "mlp_only_layers"),
    without_effect=(*_SLIDING, "output_router_logits", "router_aux_loss_coef"),
)
