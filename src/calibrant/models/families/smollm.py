"""SmolLM 3 (2025): Llama in which every fourth layer does not turn queries and keys."""

from calibrant.models.families.family import Family

SMOLLM3 = Family(
    "smollm3",
    "SmolLM3Model",
    window="sliding_window",
    kinds="layer_types",
    rotated="no_rope_layers",
    without_effect=("no_rope_layer_interval", "use_sliding_window"),
)
