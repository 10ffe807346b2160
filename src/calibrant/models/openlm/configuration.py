"""OpenLM's configuration: the names of github.com/mlfoundations/open_lm, flat or nested, as transformers wants them."""

from typing import Any, ClassVar, Self

from transformers.configuration_utils import PreTrainedConfig

# Field -> default, which is DCLM-7B's. A config file must name the REQUIRED ones itself.
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50432,
    "dim": 4096,
    "n_layers": 32,
    "n_heads": 32,
    "seq_len": 2048,
    "norm_type": "gain_only_lp_layer_norm",
    "norm_eps": 1e-5,
    "apply_qk_norm": True,
    "ffn_type": "swiglu_torch",
    "positional_embedding_type": "rotary",
    "post_embed_norm": False,
    "weight_tying": False,
}
REQUIRED = ("vocab_size", "dim", "n_layers", "n_heads", "norm_type", "apply_qk_norm")
# open_lm names these differently in its training arguments and in its model parameters; files can hold both.
ALIASES = {"hidden_dim": "dim", "qk_norm": "apply_qk_norm", "model_norm": "norm_type"}

NORM_BIAS = {  # "lp" concerns autocast only; the arithmetic is LayerNorm's
    "gain_only_lp_layer_norm": False,
    "gain_only_layer_norm": False,
    "lp_layer_norm": True,
    "default_layer_norm": True,
}
SUPPORTED = {
    "norm_type": tuple(NORM_BIAS),
    "ffn_type": ("swiglu", "swiglu_torch"),  # the same layout and formula, fused by xformers or not
    "positional_embedding_type": ("rotary",),
    "attn_name": ("auto", "xformers_attn", "xformers_attn_variable_length", "torch_attn"),
    "moe_freq": (0,),
}


def flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with `params_args_dict` merged in and open_lm's aliases resolved.

    Of the nested settings only the architecture's are taken: the rest are training arguments.

    Raises:
        ValueError: two names of one setting disagree, or a setting asks for what is not built here.
    """
    settings = dict(settings)
    nested = settings.pop("params_args_dict", None) or {}
    settings.pop("params", None)  # null in files that open_lm's own wrapper wrote
    wanted = {*DEFAULTS, *ALIASES, *SUPPORTED}
    settings |= {name: value for name, value in nested.items() if name in wanted}
    for alias, name in ALIASES.items():
        if alias in settings:
            value = settings.pop(alias)
            if settings.setdefault(name, value) != value:
                raise ValueError(f"{alias} is {value} but {name} is {settings[name]}; they are one setting")
    for name, choices in SUPPORTED.items():
        if name in settings and settings[name] not in choices:
            raise ValueError(f"{name} {settings[name]} is not supported; use {', '.join(map(str, choices))}")
    return settings


class OpenLMConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is untyped
    """Configuration of an OpenLM model, under open_lm's names; transformers' standard names are aliases.

    Attributes are those of `DEFAULTS`. `intermediate_size` follows from `dim`, as in LLaMA.

    Raises:
        ValueError: a setting that is not supported, or `dim` not divisible into heads of even size.
    """

    model_type = "openlm"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_heads",
        "max_position_embeddings": "seq_len",
        "tie_word_embeddings": "weight_tying",
    }

    def __init__(self, **settings: Any) -> None:
        settings = flatten(settings)
        tied = settings.pop("tie_word_embeddings", DEFAULTS["weight_tying"])
        settings.setdefault("weight_tying", tied)
        for name, default in DEFAULTS.items():
            setattr(self, name, settings.pop(name, default))
        if self.dim % self.n_heads or (self.dim // self.n_heads) % 2:
            raise ValueError(f"dim {self.dim} does not split into {self.n_heads} heads of an even size")
        self.use_cache = settings.pop("use_cache", True)
        # Token ids are the tokenizer's affair: open_lm's configurations hold none.
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(self, name, settings.pop(name, None))
        # open_lm's wrappers write OpenLMModel or OpenLMforCausalLM for the same weights.
        settings["architectures"] = ["OpenLMForCausalLM"]
        super().__init__(**settings)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """As transformers', for the content of a config.json.

        Raises:
            ValueError: a setting without which the model would be guessed is absent.
        """
        flat = flatten(config_dict)
        missing = [name for name in REQUIRED if name not in flat]
        if missing:
            raise ValueError(f"no {', '.join(missing)}, neither at the top nor in params_args_dict")
        config: Self = super().from_dict(flat, **kwargs)
        return config

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return int(self.dim // self.n_heads)

    @property
    def intermediate_size(self) -> int:
        """Hidden width of the SwiGLU: 8/3 dim, rounded down, then up to a multiple of 256 (open_lm/model.py, Block)."""
        return 256 * -(-int(8 * self.dim / 3) // 256)

    @property
    def norm_bias(self) -> bool:
        """Whether LayerNorms have a bias besides their gain."""
        return NORM_BIAS[self.norm_type]
