"""Mistral 7B (Jiang et al., 2023) and Mixtral (2024): Llama whose every layer sees a window; experts in Mixtral."""

from calibrant.models.families.family import Experts, Family

MISTRAL = Family("mistral", "MistralModel", window="sliding_window")
MIXTRAL = Family(
    "mixtral",
    "MixtralModel",
    window="sliding_window",
    experts=Experts(weights="float32"),
    sizes=("num_local_experts",),
    without_effect=("output_router_logits", "router_aux_loss_coef", "router_jitter_noise"),
)
