"""The transformers configuration of a model on disk. Nothing here runs code that came with a model."""

from pathlib import Path
from typing import Any

import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint_files import first_line, read_raw_config

OPENLM = "openlm"  # as config.json names its architecture, which transformers does not know by itself


def load_config(path: str | Path) -> Any:
    """The transformers configuration of a model directory.

    Raises:
        InputError: config.json is missing, broken, or of a type that transformers does not know.
    """
    from transformers import AutoConfig

    path = Path(path)
    register_openlm_for(path)
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:
        raise InputError(f"model {path}: its config.json cannot be used ({first_line(error)})") from error


def register_openlm_for(path: str | Path) -> None:
    """Make transformers find OpenLM if a model directory is one; other models pay nothing for it."""
    try:
        kind = read_raw_config(path).get("model_type")
    except (InputError, TypeError, ValueError):  # whoever uses the file says what is wrong with it
        return
    if kind == OPENLM:
        from calibrant.models.openlm.registration import register

        register()


def checkpoint_dtype(config: Any) -> torch.dtype | None:
    """The number format of a checkpoint's weights by its transformers configuration; None when it names none."""
    found = getattr(config, "dtype", None)
    return found if isinstance(found, torch.dtype) else None


def require_causal_head(path: str | Path, config: Any) -> None:
    """Refuse models that cannot predict a next token.

    Raises:
        InputError: the config's architecture is not a causal language model.
    """
    names = getattr(config, "architectures", None) or []
    if names and not any("CausalLM" in n or "LMHead" in n or "ConditionalGeneration" in n for n in names):
        raise InputError(
            f"model {path}: architecture {names[0]} has no causal language-model head; "
            "give a checkpoint whose architecture ends in ForCausalLM or LMHeadModel"
        )
