"""Granite 3 (IBM, 2024): Llama with multipliers of embeddings, scores, residual sums and logits."""

from calibrant.models.families.family import Family, Power

GRANITE = Family(
    "granite",
    "GraniteModel",
    score_factor=Power("attention_multiplier"),
    embedding_factor=Power("embedding_multiplier"),
    residual_factor="residual_multiplier",
    logit_divisor="logits_scaling",
)
