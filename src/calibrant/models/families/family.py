"""The words of a declaration: a family's parts, where they lie in transformers' modules, and what its keys mean.

A declaration is read by `decoder_plan.py`, its parts are computed by `models/decoders`. Everything that it leaves out
is Llama's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Norm:
    """How hidden states are normalised.

    kind: "rms" divides by the root of the mean square, "layer" is LayerNorm.
    gain: the weight itself, or one more than the weight.
    rounds: bfloat16 is reached before the gain or after it; the mean square is always float32's.
    """

    kind: Literal["rms", "layer"] = "rms"
    gain: Literal["weight", "one more"] = "weight"
    rounds: Literal["before gain", "after gain"] = "before gain"


@dataclass(frozen=True)
class Power:
    """A number that a configuration says: the value of `key`, raised to `exponent`.

    rounds: it has the model's number format before anything is multiplied by it.
    """

    key: str
    exponent: float = 1.0
    rounds: bool = False


@dataclass(frozen=True)
class Names:
    """Where the modules lie: of the decoder, then inside each of its layers. None: the family has no such part.

    `query_key_value` and `gate_up` are either one linear for each part, or one that holds all, one after the other.
    """

    embedding: str = "embed_tokens"
    embedding_norm: str | None = None
    layers: str = "layers"
    last_norm: str = "norm"
    rotary: str | None = "rotary_emb"
    before_attention: str | None = "input_layernorm"
    after_attention: str | None = None
    before_mlp: str | None = "post_attention_layernorm"
    after_mlp: str | None = None
    query_key_value: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    query_norm: str | None = None
    key_norm: str | None = None
    out: str = "self_attn.o_proj"
    gate_up: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj")
    down: str = "mlp.down_proj"


@dataclass(frozen=True)
class Experts:
    """Layers whose MLP is a mixture of experts; a layer without a module `stack` has an ordinary one.

    router, stack: modules inside a layer; `stack` holds `gate_up_proj` [experts, 2 inner, hidden] and `down_proj`.
    chosen: key of how many experts a token goes to.
    normalised: key of whether their weights are made to sum to one; None: they always are.
    weights: the format in which their weights are kept: the model's, or float32.
    """

    chosen: str = "num_experts_per_tok"
    normalised: str | None = None
    weights: Literal["model", "float32"] = "model"
    router: str = "mlp.gate"
    stack: str = "mlp.experts"


@dataclass(frozen=True)
class Family:
    """A family of decoders.

    Attributes:
        model_type: as configurations name it.
        decoder: transformers' class of the decoder without its head.
        names: where its parts lie.
        norm: of hidden states, and of queries and keys where they have one.
        query_key_norm: over each head's width, or over all heads together.
        activation: key of the MLP's activation.
        eps: key of what norms add to the mean square.
        score_factor: what scores are multiplied by; None: 1 / sqrt(width of a head).
        score_cap, logit_cap: keys of soft caps, cap · tanh(x / cap); a value of None is no cap.
        embedding_factor, residual_factor: what embeddings, and what a layer adds to hidden states, are multiplied by.
        logit_divisor: key of what logits are divided by.
        clip: key of the largest query, key and value.
        window: key of how many tokens a sliding layer sees, its own among them.
        kinds: key of the list that says which layers slide; None: all do, where `window` has a value.
        rotary_of_kinds: each kind of layers has rotary frequencies of its own.
        rotary_base: of a decoder without a rotary module.
        rotated: key of the list that says which layers turn queries and keys; None: all.
        rotation: the format of cosines and sines: the model's, or float32.
        experts: of a mixture of experts.
        sizes: further keys whose meaning shows in the modules: their number and their shapes.
        only: keys that must have one of these values.
        without_effect: further keys that change no logits.
    """

    model_type: str
    decoder: str
    names: Names = field(default_factory=Names)
    norm: Norm = field(default_factory=Norm)
    query_key_norm: Literal["head", "whole"] = "head"
    activation: str = "hidden_act"
    eps: str = "rms_norm_eps"
    score_factor: Power | None = None
    score_cap: str | None = None
    logit_cap: str | None = None
    embedding_factor: Power | None = None
    residual_factor: str | None = None
    logit_divisor: str | None = None
    clip: str | None = None
    window: str | None = None
    kinds: str | None = None
    rotary_of_kinds: bool = False
    rotary_base: float | None = None
    rotated: str | None = None
    rotation: Literal["model", "float32"] = "model"
    experts: Experts | None = None
    sizes: tuple[str, ...] = ()
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    without_effect: tuple[str, ...] = ()
