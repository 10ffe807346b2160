"""The language model inside a checkpoint that also takes images or sound: its class, without what text never reaches.

Transformers' own class is built and run on token ids alone, so that positions and masks are what it makes of text. Its
vision and audio towers are left out of memory; the checkpoint on disk keeps them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from calibrant.errors import InputError
from calibrant.models.checkpoint.library_calls import told_in_one_line


class LeftOut(nn.Module):
    """What stands where a tower was."""

    device = torch.device("meta")  # some models ask for it whatever they are given

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse to compute.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"it runs its {self.name}, which takes no text")


def takes_more_than_text(config: Any) -> bool:
    """Whether transformers builds a model of several kinds of input for a configuration.

    So it does for one with a text part, and where it knows no causal language model for it.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMultimodalLM

    several: bool = type(config) in AutoModelForMultimodalLM._model_mapping
    plain = config.get_text_config() is config and type(config) in AutoModelForCausalLM._model_mapping
    return several and not plain


def auto_class(config: Any) -> Any:
    """The auto class of transformers that builds and loads a configuration's model."""
    from transformers import AutoModelForCausalLM, AutoModelForMultimodalLM

    return AutoModelForMultimodalLM if takes_more_than_text(config) else AutoModelForCausalLM


def build_whole(config: Any, **options: Any) -> Any:
    """The model of a configuration by transformers' own class, with all its parts; the configuration may be changed."""
    return auto_class(config).from_config(config, trust_remote_code=False, **options)


def check_language_part(path: Path, config: Any, model: Any) -> None:
    """Refuse a model of several kinds of input that has no causal language model in it.

    Raises:
        InputError: it writes from an encoder's states, reads text in both directions, or has no head for text.
    """
    if not takes_more_than_text(config):
        return
    text = config.get_text_config()
    why = None
    if config.is_encoder_decoder or text.is_encoder_decoder:
        why = "it writes from an encoder's states"
    elif getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        why = "it reads text in both directions (use_bidirectional_attention)"
    elif not isinstance(model.get_output_embeddings(), nn.Module):
        why = "it names no output head (get_output_embeddings)"
    if why:
        raise InputError(f"model {path}: a model of type {config.model_type} has no causal language model; {why}")


def check_text_alone(path: Path, model: Any) -> None:
    """Refuse a loaded model of several kinds of input that does not run on tokens alone.

    Raises:
        InputError: with transformers' reason.
    """
    if not takes_more_than_text(model.config):
        return
    tokens = torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device)
    with told_in_one_line(f"model {path}: cannot be run on text alone"), torch.no_grad():
        model(input_ids=tokens, use_cache=False).logits  # noqa: B018


def leave_out_towers(model: Any) -> None:
    """Put `LeftOut` in the place of every model that stands beside the decoder, with all its weights."""
    from transformers import PreTrainedModel

    if not takes_more_than_text(model.config):
        return
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    for owner in [module for module in model.modules() if module is not decoder and _holds(module, decoder)]:
        for name, child in list(owner.named_children()):
            if isinstance(child, PreTrainedModel) and not _holds(child, decoder) and not _holds(child, head):
                setattr(owner, name, LeftOut(name))
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    there = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for target in [target for target, source in tied.items() if not {target, source} <= there]:
        del tied[target]


def without_towers(kind: type) -> type:
    """A class of transformers whose models are made without their towers; by its names the same class.

    Transformers looks up conversions of weights by a class's name and module.
    """

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        kind.__init__(self, *args, **kwargs)  # type: ignore[misc]
        leave_out_towers(self)

    return type(kind.__name__, (kind,), {"__init__": make, "__module__": kind.__module__, "__doc__": kind.__doc__})


def _holds(module: nn.Module, wanted: Any) -> bool:
    return any(inner is wanted for inner in module.modules())
