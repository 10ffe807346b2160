"""A declaration read with a configuration: the numbers of one model's decoder, or why there is none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.models.families.family import Family, Power

STATIC_ROPE = ("default", "linear", "llama3", "yarn")  # rotary frequencies that depend on no length
LIMITED_ROPE = {  # those that change for all tokens of a text beyond a length -> where that length stands
    "longrope": "original_max_position_embeddings",
    "dynamic": "max_position_embeddings",
}
SHORTEST_LIMIT = 64  # tokens; a model whose frequencies change before them is not worth the trouble
ACTIVATIONS = {  # as configurations name them -> as the decoder does
    "silu": "silu",
    "swish": "silu",
    "swiglu": "silu",
    "swiglu_torch": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
SLIDING, FULL = "sliding_attention", "full_attention"
SIZES = (  # keys whose meaning shows in the modules, of every family
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "tie_word_embeddings", "rope_parameters"),
)
WITHOUT_EFFECT = (  # keys that change no logits, of every family
    *("_name_or_path", "architectures", "auto_map", "chunk_size_feed_forward", "dtype", "torch_dtype", "id2label"),
    *("label2id", "model_type", "output_attentions", "output_hidden_states", "problem_type"),
    *(
        "torchscript",
        "is_decoder",
        "output_router_logits",
        "return_dict",
        "transformers_version",
        "initializer_range",
        "use_cache",
        "attention_dropout",
        "pretraining_tp",
    ),
    *("max_position_embeddings", "model_max_length", "max_sequence_length", "rope_theta", "rope_scaling"),
    *("_attn_implementation", "_attn_implementation_autoset", "_experts_implementation", "_from_model_config"),
    *("rope_local_base_freq", "transformers.js_config", "cache_implementation", "neftune_noise_alpha"),
    *("unsloth_fixed", "unsloth_version", "unsloth_tied", "is_llama_config", "rope_interleaved"),
    # of older files, which said here how to generate
    *("max_length", "min_length", "do_sample", "num_beams", "temperature", "top_k", "top_p", "typical_p"),
    *("repetition_penalty", "length_penalty", "no_repeat_ngram_size", "num_return_sequences", "early_stopping"),
)
TOKEN = "_token_id"  # the end of every key that names a token
ONLY = {"is_causal": (True,), "use_mrope": (False,), "is_encoder_decoder": (False,)}  # of every family


class UnlikeError(Exception):
    """Why a configuration is not one of its family that the decoder computes, in the words of a message."""


@dataclass(frozen=True)
class LayerPlan:
    """window: tokens that it sees, None for all. rotary: which frequencies turn it ("" where there is one kind)."""

    window: int | None
    rotary: str | None


@dataclass(frozen=True)
class Plan:
    """The numbers of one decoder; what they mean stands at `Family`.

    longest: tokens of a text beyond which its rotary frequencies would be others; None: they never are.
    """

    family: Family
    heads: int
    kv_heads: int
    width: int
    activation: str
    eps: float
    score_factor: float
    score_cap: float | None
    logit_cap: float | None
    logit_divisor: float
    embedding_factor: float
    residual_factor: float
    clip: float | None
    longest: int | None
    chosen_experts: int
    normalised_experts: bool
    layers: tuple[LayerPlan, ...]


def read_plan(family: Family, config: Any) -> Plan:
    """The numbers of the decoder that a configuration describes.

    Args:
        family: the declaration for its `model_type`.
        config: transformers' configuration, of the text part where there are several.

    Raises:
        UnlikeError: a key that the declaration does not know, or a value that the decoder does not compute.
    """
    _check_keys(family, config)
    longest = _longest(config)
    heads = _whole(config, "num_attention_heads")
    kv_heads = heads if getattr(config, "num_key_value_heads", None) is None else _whole(config, "num_key_value_heads")
    if heads % kv_heads:
        raise UnlikeError(f"num_key_value_heads {kv_heads} does not divide num_attention_heads {heads}")
    width = getattr(config, "head_dim", None) or _whole(config, "hidden_size") // heads
    if type(width) is not int or width < 2 or width % 2:
        raise UnlikeError(f"head_dim is {width}, not an even number")
    experts = family.experts
    return Plan(
        family,
        heads,
        kv_heads,
        width,
        _activation(family, config),
        _number(config, family.eps, least=0.0),
        width**-0.5 if family.score_factor is None else _power(config, family.score_factor),
        _optional(config, family.score_cap),
        _optional(config, family.logit_cap),
        1.0 if family.logit_divisor is None else _number(config, family.logit_divisor),
        1.0 if family.embedding_factor is None else _power(config, family.embedding_factor),
        1.0 if family.residual_factor is None else _number(config, family.residual_factor),
        _optional(config, family.clip),
        longest,
        0 if experts is None else _whole(config, experts.chosen),
        experts is not None and (experts.normalised is None or bool(getattr(config, experts.normalised))),
        _layers(family, config),
    )


def _check_keys(family: Family, config: Any) -> None:
    """Refuse keys with a value that the declaration does not know, and values that it says are not computed."""
    experts = family.experts
    read = (
        *(family.activation, family.eps, family.score_cap, family.logit_cap, family.residual_factor),
        *(family.logit_divisor, family.clip, family.window, family.kinds, family.rotated),
        *(power.key for power in (family.score_factor, family.embedding_factor) if power is not None),
        *((experts.chosen, experts.normalised) if experts is not None else ()),
    )
    only = {**ONLY, **family.only}
    known = {*read, *family.sizes, *family.without_effect, *only, *SIZES, *WITHOUT_EFFECT}
    for key, value in config.to_dict().items():
        if key == "quantization_config" and value is not None:
            raise UnlikeError("its weights are quantised")
        if key not in known and value is not None and not key.endswith(TOKEN):
            raise UnlikeError(f"its configuration has a key {key}, which the declaration of {family.model_type} lacks")
    for key, values in only.items():
        if getattr(config, key, values[0]) not in values:
            raise UnlikeError(f"{key} is {getattr(config, key)}")


def _longest(config: Any) -> int | None:
    """How long a text may be before its rotary frequencies change; None: as long as one likes."""
    said = getattr(config, "rope_parameters", None) or {}
    parts = [part for part in said.values() if isinstance(part, Mapping)] or [said]
    limits = []
    for part in parts:
        kind = part.get("rope_type", "default")
        if kind in LIMITED_ROPE:
            key = LIMITED_ROPE[kind]
            limit = part.get(key) if kind == "longrope" else getattr(config, key, None)
            if type(limit) is not int or limit < SHORTEST_LIMIT:
                raise UnlikeError(f"rope_type is {kind}, which changes beyond {limit} tokens")
            limits.append(limit)
        elif kind not in STATIC_ROPE:
            raise UnlikeError(f"rope_type is {kind}, not {', '.join((*STATIC_ROPE, *LIMITED_ROPE))}")
    return min(limits, default=None)


def _layers(family: Family, config: Any) -> tuple[LayerPlan, ...]:
    count = _whole(config, "num_hidden_layers")
    window = None if family.window is None else getattr(config, family.window, None)
    if window is not None and (type(window) is not int or window < 1):
        raise UnlikeError(f"{family.window} is {window}, not a number of tokens")
    kinds = [FULL if window is None else SLIDING] * count
    if family.kinds is not None:
        kinds = list(getattr(config, family.kinds))
        if len(kinds) < count or not {*kinds} <= {SLIDING, FULL}:
            raise UnlikeError(f"{family.kinds} holds {', '.join(sorted({*kinds} - {SLIDING, FULL})) or len(kinds)}")
        if SLIDING in kinds and window is None:
            raise UnlikeError(f"{family.kinds} has layers with a window, and {family.window} has no value")
    turned = [True] * count if family.rotated is None else list(getattr(config, family.rotated))
    if len(turned) < count:
        raise UnlikeError(f"{family.rotated} has {len(turned)} values for {count} layers")
    return tuple(
        LayerPlan(window if kind == SLIDING else None, (kind if family.rotary_of_kinds else "") if turns else None)
        for kind, turns in list(zip(kinds, turned, strict=False))[:count]
    )


def _activation(family: Family, config: Any) -> str:
    said = getattr(config, family.activation)
    if not isinstance(said, str) or said not in ACTIVATIONS:
        raise UnlikeError(f"{family.activation} is {said}, not {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[said]


def _whole(config: Any, key: str) -> int:
    value = getattr(config, key, None)
    if type(value) is not int or value < 1:
        raise UnlikeError(f"{key} is {value}, not a whole number of 1 or more")
    return value


def _number(config: Any, key: str, least: float | None = None) -> float:
    value = getattr(config, key, None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UnlikeError(f"{key} is {value}, not a number")
    if (value == 0 and least is None) or (least is not None and value < least):
        raise UnlikeError(f"{key} is {value}")
    return float(value)


def _optional(config: Any, key: str | None) -> float | None:
    if key is None or getattr(config, key, None) is None:
        return None
    value = _number(config, key)
    if value < 0:
        raise UnlikeError(f"{key} is {value}")
    return value


def _power(config: Any, power: Power) -> float:
    value = _number(config, power.key)
    if value < 0:
        raise UnlikeError(f"{power.key} is {value}")
    return float(value**power.exponent)
