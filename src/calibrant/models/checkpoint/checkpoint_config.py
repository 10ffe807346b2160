"""The transformers configuration of a model on disk. Nothing here runs code that came with a model."""

from pathlib import Path
from typing import Any

import torch

from calibrant.artefacts.file_kinds import plain_file
from calibrant.errors import InputError, shown_value
from calibrant.models.checkpoint.checkpoint_files import read_raw_config
from calibrant.models.checkpoint.config_sizes import check_sizes
from calibrant.models.checkpoint.library_calls import told_in_one_line

CALL_OPTIONS = {
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_router_logits": False,
    "torchscript": False,
}
NOT_KEYS = ("attribute_map", "sub_configs")  # of a configuration's class
OPENLM = "openlm"  # as config.json names its architecture, which transformers does not know by itself


def load_config(path: str | Path) -> Any:
    """The transformers configuration of a model directory.

    Raises:
        InputError: config.json is missing, broken, or of a type that transformers does not know.
    """
    from transformers import AutoConfig

    path = Path(path)
    register_openlm_for(path)
    plain_file(path / "config.json")
    with told_in_one_line(f"model {path}: its config.json cannot be used"):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        _check_parts(path, config)
        _set_call_options(config)
        check_sizes(path, config)
        _check_dtype(path, config)
        _check_kernel(path, config)
    return config


def register_openlm_for(path: str | Path) -> None:
    """Make transformers find OpenLM if a model directory is one; other models pay nothing for it."""
    try:
        kind = read_raw_config(path).get("model_type")
    except InputError:  # whoever uses the file says what is wrong with it
        return
    if kind == OPENLM:
        from calibrant.models.openlm.registration import register

        register()


def checkpoint_dtype(config: Any) -> torch.dtype | None:
    """The number format of a checkpoint's weights by its transformers configuration; None when it names none."""
    named = (getattr(part, "dtype", None) for part in (config, config.get_text_config()))
    return next((found for found in named if isinstance(found, torch.dtype)), None)


def _check_parts(path: Path, config: Any) -> None:
    """Transformers takes keys that it does not know as they are, in place of its own methods and parts too."""
    from transformers import PretrainedConfig

    for name in vars(config):
        own = getattr(type(config), name, None)
        if callable(own) or name in NOT_KEYS:
            raise InputError(f"model {path}: its config.json has the key {name}, which is none of a configuration's")
    text = config.get_text_config()
    if not isinstance(text, PretrainedConfig):
        name = next((name for name, value in vars(config).items() if value is text), "text_config")
        raise InputError(
            f"model {path}: its config.json has {name} {shown_value(text)}, and a model of type {config.model_type} "
            "has no such part"
        )


def _set_call_options(config: Any) -> None:
    """What a call returns beside logits is the caller's choice: the same whatever a model's file says of it."""
    from transformers import PretrainedConfig

    for part in vars(config).values():
        if isinstance(part, PretrainedConfig):
            _set_call_options(part)
    for name, value in CALL_OPTIONS.items():
        if hasattr(config, name):
            setattr(config, name, value)


def _check_dtype(path: Path, config: Any) -> None:
    """Transformers takes any name of PyTorch's, and any text that is none."""
    for part in (config, config.get_text_config()):
        found = getattr(part, "dtype", None)
        if found is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
            name = str(found).removeprefix("torch.")
            raise InputError(f"model {path}: its config.json has dtype {name}; must be a floating-point number format")


def _check_kernel(path: Path, config: Any) -> None:
    """Kernels of the hub are code of others, which transformers would fetch and run."""
    for part in (config, config.get_text_config()):
        kernel = getattr(part, "_attn_implementation", None)
        if kernel is not None and (not isinstance(kernel, str) or "/" in kernel):
            raise InputError(
                f"model {path}: its config.json names the attention kernel {kernel}; kernels of the hub are code, "
                "which is not run, so remove the key"
            )


def require_causal_head(path: str | Path, config: Any) -> None:
    """Refuse models that cannot predict a next token.

    Raises:
        InputError: the config's architecture is not a causal language model.
    """
    names = getattr(config, "architectures", None) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"model {path}: its config.json has architectures {names!r}; must be a list of names")
    if names and not any("CausalLM" in n or "LMHead" in n or "ConditionalGeneration" in n for n in names):
        raise InputError(
            f"model {path}: architecture {names[0]} has no causal language-model head; "
            "give a checkpoint whose architecture ends in ForCausalLM or LMHeadModel"
        )
