"""One row for each kind of model that the fast decoder must give to the letter: a small random one.

Rows differ in what a family can have beside its plain form, so some families have several. Gains, biases and routers
are drawn too: what transformers initialises to 0 or 1 would hide a norm that is left out.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers as tf
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from calibrant.models.openlm.configuration import OpenLMConfig
from calibrant.models.openlm.registration import register

VOCABULARY = 120
WINDOW = 7  # tokens that a sliding layer sees: fewer than most rows of the tests have
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 0.01,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OPENLM = {"vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "seq_len": 128, "norm_eps": 0.01}
FULL, SLIDING = "full_attention", "sliding_attention"
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0, 1.3], "long_factor": [2.0, 5.0],
    "partial_rotary_factor": 0.5,
}  # fmt: skip
GLOBAL_AND_LOCAL = {
    FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    SLIDING: {"rope_type": "default", "rope_theta": 1e4},
}


@dataclass(frozen=True)
class Family:
    """A kind of small model.

    name: of the row. model_type: as config.json has it. config: the class of its configuration.
    settings: what its configuration says beside SIZES.
    off: changes of the settings, each of which takes away one thing that the row is there for.
    experts: whether it has them, so that rounding can choose another expert.
    fast: False where the decoder may leave it to transformers.
    """

    name: str
    model_type: str
    config: Any
    settings: dict[str, Any]
    off: tuple[dict[str, Any], ...] = ()
    experts: bool = False
    fast: bool = True
    sizes: dict[str, Any] = field(default_factory=lambda: SIZES)

    def make_config(self, **changes: Any) -> Any:
        """Its configuration, with some settings changed."""
        settings = {**self.sizes, **self.settings, **changes}
        return self.config(**{key: _copied(value) for key, value in settings.items()})

    def __str__(self) -> str:
        return self.name


FAMILIES = (
    Family("llama", "llama", tf.LlamaConfig, {}),
    Family(
        "llama biases",
        "llama",
        tf.LlamaConfig,
        {
            "head_dim": 12, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 5e3},
        },
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e3}},),
    ),
    Family("llama llama3", "llama", tf.LlamaConfig, {"rope_parameters": LLAMA3}, ({"rope_parameters": None},)),
    Family(
        "llama dynamic",
        "llama",
        tf.LlamaConfig,
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}, "max_position_embeddings": 16},
        ({"max_position_embeddings": 128},),
        fast=False,
    ),
    Family("mistral", "mistral", tf.MistralConfig, {"sliding_window": WINDOW}, ({"sliding_window": None},)),
    Family("mistral full", "mistral", tf.MistralConfig, {"sliding_window": None, "head_dim": 12}),
    Family(
        "qwen2",
        "qwen2",
        tf.Qwen2Config,
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
        ({"max_window_layers": 0}, {"max_window_layers": 2}),
    ),
    Family("qwen2 tied", "qwen2", tf.Qwen2Config, {"tie_word_embeddings": True, "sliding_window": WINDOW}),
    Family(
        "qwen3",
        "qwen3",
        tf.Qwen3Config,
        {
            "head_dim": 12, "attention_bias": True, "use_sliding_window": True, "sliding_window": WINDOW,
            "layer_types": [SLIDING, FULL, SLIDING],
        },
        ({"layer_types": [FULL] * 3},),
    ),
    Family(
        "qwen3 yarn",
        "qwen3",
        tf.Qwen3Config,
        {"head_dim": 8, "tie_word_embeddings": True, "rope_parameters": YARN},
        ({"rope_parameters": {**YARN, "attention_factor": 1.0}}, {"rope_parameters": None}),
    ),
    Family(
        "qwen3_moe",
        "qwen3_moe",
        tf.Qwen3MoeConfig,
        {
            "head_dim": 12, "moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 3,
            "norm_topk_prob": True, "mlp_only_layers": [1],
        },
        ({"norm_topk_prob": False}, {"num_experts_per_tok": 2}),
        experts=True,
    ),
    Family(
        "qwen3_moe windows",
        "qwen3_moe",
        tf.Qwen3MoeConfig,
        {
            "moe_intermediate_size": 24, "num_experts": 5, "num_experts_per_tok": 2, "norm_topk_prob": False,
            "decoder_sparse_step": 2, "use_sliding_window": True, "sliding_window": WINDOW, "attention_bias": True,
        },
        ({"norm_topk_prob": True}, {"use_sliding_window": False}),
        experts=True,
    ),
    Family(
        "gemma2",
        "gemma2",
        tf.Gemma2Config,
        {
            "head_dim": 12, "sliding_window": WINDOW, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
        (
            {"attn_logit_softcapping": None},
            {"final_logit_softcapping": None},
            {"query_pre_attn_scalar": 12},
            {"layer_types": [FULL] * 3},
            {"hidden_activation": "silu"},
        ),
    ),
    Family(
        "gemma2 uncapped",
        "gemma2",
        tf.Gemma2Config,
        {
            "head_dim": 8, "query_pre_attn_scalar": 8, "attn_logit_softcapping": None, "final_logit_softcapping": None,
            "attention_bias": True, "tie_word_embeddings": False, "sliding_window": WINDOW,
            "layer_types": [FULL, FULL, SLIDING],
        },
        ({"layer_types": [FULL] * 3},),
    ),
    Family(
        "gemma3_text",
        "gemma3_text",
        tf.Gemma3TextConfig,
        {
            "head_dim": 12, "sliding_window": WINDOW, "query_pre_attn_scalar": 20, "final_logit_softcapping": 3.0,
            "layer_types": [SLIDING, FULL, SLIDING], "rope_parameters": GLOBAL_AND_LOCAL,
        },
        (
            {"rope_parameters": {FULL: GLOBAL_AND_LOCAL[SLIDING], SLIDING: GLOBAL_AND_LOCAL[SLIDING]}},
            {"rope_parameters": {FULL: GLOBAL_AND_LOCAL[FULL], SLIDING: GLOBAL_AND_LOCAL[FULL]}},
            {"layer_types": [SLIDING] * 3},
            {"query_pre_attn_scalar": 12},
            {"final_logit_softcapping": None},
        ),
    ),
    Family(
        "gemma3_text old keys",
        "gemma3_text",
        tf.Gemma3TextConfig,
        {
            "head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8, "sliding_window_pattern": 2,
            "rope_theta": 5e5, "rope_local_base_freq": 2e3, "attn_logit_softcapping": 2.0, "attention_bias": True,
        },
        ({"rope_local_base_freq": 5e5}, {"sliding_window_pattern": 3}),
    ),
    Family(
        "phi3",
        "phi3",
        tf.Phi3Config,
        {
            "sliding_window": WINDOW,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
        },
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, {"sliding_window": None}),
    ),
    Family(
        "phi3 longrope",
        "phi3",
        tf.Phi3Config,
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 96, "tie_word_embeddings": True},
        ({"rope_parameters": {**LONGROPE, "attention_factor": 1.0}}, {"original_max_position_embeddings": 16}),
    ),
    Family("olmo2", "olmo2", tf.Olmo2Config, {"attention_bias": True}),
    Family("olmo2 tied", "olmo2", tf.Olmo2Config, {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    Family(
        "olmoe",
        "olmoe",
        tf.OlmoeConfig,
        {
            "intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 3, "norm_topk_prob": False,
            "clip_qkv": 0.8, "num_hidden_layers": 2,
        },
        ({"norm_topk_prob": True}, {"clip_qkv": None}),
        experts=True,
    ),
    Family(
        "olmoe normed",
        "olmoe",
        tf.OlmoeConfig,
        {
            "intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True,
            "attention_bias": True, "num_hidden_layers": 2,
        },
        ({"norm_topk_prob": False},),
        experts=True,
    ),
    Family(
        "smollm3",
        "smollm3",
        tf.SmolLM3Config,
        {
            "num_hidden_layers": 4, "no_rope_layers": [1, 0, 1, 0], "use_sliding_window": True,
            "sliding_window": WINDOW, "attention_bias": True, "mlp_bias": True,
        },
        ({"no_rope_layers": [1] * 4, "layer_types": [FULL, SLIDING] * 2}, {"use_sliding_window": False}),
    ),
    Family(
        "smollm3 untied",
        "smollm3",
        tf.SmolLM3Config,
        {"no_rope_layer_interval": 2, "tie_word_embeddings": False},
        ({"no_rope_layer_interval": 3},),
    ),
    Family(
        "granite",
        "granite",
        tf.GraniteConfig,
        {
            "embedding_multiplier": 3.1, "residual_multiplier": 0.7, "attention_multiplier": 0.2, "logits_scaling": 2.5,
            "attention_bias": True, "mlp_bias": True,
        },
        (
            {"embedding_multiplier": 1.0},
            {"residual_multiplier": 1.0},
            {"attention_multiplier": 8**-0.5},
            {"logits_scaling": 1.0},
        ),
    ),
    Family("granite tied", "granite", tf.GraniteConfig, {"tie_word_embeddings": True, "attention_multiplier": 0.4}),
    Family(
        "mixtral",
        "mixtral",
        tf.MixtralConfig,
        {"intermediate_size": 24, "num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": WINDOW},
        ({"num_experts_per_tok": 3}, {"sliding_window": None}),
        experts=True,
    ),
    Family(
        "mixtral full",
        "mixtral",
        tf.MixtralConfig,
        {"intermediate_size": 24, "num_local_experts": 4, "num_experts_per_tok": 1, "head_dim": 12},
        ({"num_experts_per_tok": 2},),
        experts=True,
    ),
    Family("openlm", "openlm", OpenLMConfig, {}, ({"apply_qk_norm": False},), sizes=OPENLM),
    Family(
        "openlm biases",
        "openlm",
        OpenLMConfig,
        {"norm_type": "lp_layer_norm", "post_embed_norm": True, "weight_tying": True, "apply_qk_norm": False},
        ({"post_embed_norm": False},),
        sizes=OPENLM,
    ),
)  # fmt: skip
BY_NAME = {family.name: family for family in FAMILIES}
# One row a family, that with the most in it, for what is too slow to be tried on every row.
FIRST = tuple({family.model_type: family for family in reversed(FAMILIES)}.values())[::-1]


def small_model(family: Family, dtype: torch.dtype = torch.float32, seed: int = 0, **changes: Any) -> Any:
    """A random model of a family, in a number format; its weights are the same numbers in all formats, but rounded.

    A float64 model is computed in float64 inside `everything_in_float64`, where it must be made too.
    """
    register()
    # Its buffers, such as rotary frequencies, keep the format in which transformers computes them.
    model = tf.AutoModelForCausalLM.from_config(family.make_config(**changes), dtype=dtype)
    if family.experts and dtype == torch.float64:
        model.set_experts_implementation("eager")  # PyTorch's grouped product knows no float64
    draw_weights(model, seed)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def draw_weights(model: nn.Module, seed: int = 0) -> None:
    """Random weights: products keep the size of what they are given, gains spread around what they begin with."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        drawn = torch.from_numpy(rng.standard_normal(tuple(parameter.shape), dtype=np.float32)).to(parameter.dtype)
        if parameter.ndim > 1:
            embedding = "embed" in name
            parameter.copy_(drawn if embedding else drawn * (1.3 / parameter.shape[-1] ** 0.5))
        elif "norm" in name and name.endswith("weight"):
            parameter.add_(0.4 * drawn)
        else:
            parameter.copy_(0.3 * drawn)


def draw_rows(lengths: list[int], seed: int = 0, vocabulary: int = VOCABULARY) -> list[list[int]]:
    """Rows of random tokens."""
    rng = np.random.default_rng(seed)
    return [rng.integers(3, vocabulary, length).tolist() for length in lengths]


@torch.no_grad()
def plain_logits(model: Any, row: list[int]) -> Tensor:
    """What transformers gives for one sequence [tokens, vocabulary]."""
    logits: Tensor = model(torch.tensor([row]), use_cache=False).logits[0]
    return logits


@contextlib.contextmanager
def everything_in_float64() -> Iterator[None]:
    """Inside, what asks for float32 gets float64.

    Norms, rotary angles, routers and softmaxes ask for it whatever a model's format is, in transformers as in the
    decoder: a float64 model would be good to seven digits only, and a mistake of the eighth would pass.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Float64():
            yield
    finally:
        torch.set_default_dtype(before)


class _Float64(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            return args[0].double()
        kwargs = {key: _wide(value) for key, value in (kwargs or {}).items()}
        return func(*map(_wide, args), **kwargs)


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else torch.complex128 if value is torch.complex64 else value


def _copied(value: Any) -> Any:
    """Configurations complete the dictionaries that they are given."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, list) else value
