"""What a configuration must say for our own Llama decoders to compute a model."""

from typing import Any

STATIC_ROPE = ("default", "linear", "llama3")  # rotary tables that depend on positions alone


def unlike_llama(config: Any) -> str | None:
    """Why a model cannot be computed exactly by a plain Llama decoder, or None when it can."""
    if getattr(config, "model_type", None) != "llama":
        return f"model_type is {getattr(config, 'model_type', None)}, not llama"
    if config.hidden_act != "silu":
        return f"hidden_act is {config.hidden_act}, not silu"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in STATIC_ROPE:
        return f"rope_type is {rope}, not {', '.join(STATIC_ROPE)}"
    if getattr(config, "quantization_config", None):
        return "its weights are quantised"
    return None
