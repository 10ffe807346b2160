"""Wanda by brute force on a whole model in memory: what linears are given, and experts, seen from outside."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from calibrant.models.checkpoint.key_map import KeyMap, ParameterPlace

GATES = ("shared_expert_gate", "router")
TRANSPOSED = ("gpt_oss", "llama4_text")  # their experts lie [in, out]


@dataclass
class Found:
    """By linear: the keep-mask as the checkpoint stores it, and the tokens and float64 scores [rows, cols] behind it.

    Experts without tokens have no scores.
    """

    masks: dict[str, torch.Tensor] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    scores: dict[str, torch.Tensor] = field(default_factory=dict)


def load(path: Path) -> Any:
    return tf.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, experts_implementation="eager").eval()


def wanda_by_hand(path: Path, input_ids: np.ndarray, ratio: float, unreached: str = "magnitude") -> Found:
    """For each decoder layer, all of the model is run with the layers before it pruned."""
    model = load(path)
    places = expert_places(model, path)
    layers = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) > 1 and has_linears(m))
    names = {module: name for name, module in model.named_modules()}
    parameters = dict(model.named_parameters())
    found = Found()
    with torch.no_grad():
        for layer in layers:
            inputs = seen_inputs(model, layer, names, places, input_ids)
            without = [n for n, p in places.items() if p.parameter.startswith(names[layer] + ".") and n not in inputs]
            for name in [*inputs, *without]:
                place = places.get(name)
                stored = place.view(parameters[place.parameter]) if place else parameters[f"{name}.weight"]
                if place:
                    transposed = model.config.model_type in TRANSPOSED
                else:
                    transposed = isinstance(model.get_submodule(name), Conv1D)
                weight = stored.T if transposed else stored
                rows = inputs.get(name, [])
                score = weight.abs()
                if rows:
                    score = score * torch.stack([(x.double() ** 2).sum(0) for x in rows]).mean(0).sqrt()
                    found.scores[name] = score
                mask = torch.ones_like(weight, dtype=torch.bool)
                if rows or unreached == "magnitude":
                    order = score.argsort(dim=1, stable=True)
                    mask.scatter_(1, order[:, : int(weight.shape[1] * ratio)], False)
                found.tokens[name] = sum(map(len, rows))
                found.masks[name] = mask.T if transposed else mask
                stored.mul_(found.masks[name])
    return found


def seen_inputs(
    model: Any, layer: nn.Module, names: dict[nn.Module, str], places: dict[str, ParameterPlace], input_ids: np.ndarray
) -> dict[str, list[torch.Tensor]]:
    """What each linear of a decoder layer is given, a tensor [tokens, cols] for each sequence."""
    inputs: dict[str, list[torch.Tensor]] = {}

    def note(module: nn.Module, args: Any) -> None:
        inputs.setdefault(names[module], []).append(args[0].reshape(-1, args[0].shape[-1]))

    def note_experts(module: nn.Module, args: Any) -> None:
        record_experts(module, args, names[module], places, inputs)

    hooks = []
    for module in layer.modules():
        if isinstance(module, nn.Linear | Conv1D) and names[module].rsplit(".")[-1] not in GATES:
            hooks.append(module.register_forward_pre_hook(note))
        if hasattr(module, "gate_up_proj") and getattr(module, "num_experts", None):
            hooks.append(module.register_forward_pre_hook(note_experts))
    for row in input_ids:
        model(input_ids=torch.from_numpy(row)[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return inputs


def has_linears(module: nn.Module) -> bool:
    return any(isinstance(m, nn.Linear | Conv1D) for m in module.modules())


def expert_places(model: Any, path: Path) -> dict[str, ParameterPlace]:
    """The experts' linears by name, each with its place; a tensor of three dimensions holds one in each slice."""
    found = {}
    for key, tensor in load_file(path / "model.safetensors").items():
        place = KeyMap(model).place(key)
        assert place is not None
        name = key.removesuffix(".weight")
        if tensor.ndim == 3:
            found |= {f"{name}.{expert}": replace(place, expert=expert) for expert in range(len(tensor))}
        elif place.expert is not None:
            found[name] = place
    return found


def record_experts(module: Any, args: Any, name: str, places: Any, inputs: dict[str, list[torch.Tensor]]) -> None:
    """The tokens that each expert gets, and what its last projection then gets."""
    for key, place in places.items():
        owner, _, kind = place.parameter.rpartition(".")
        if owner != name:
            continue
        if len(args) == 1:  # Llama 4: all tokens for every expert, those of others as zeros
            tokens = args[0].reshape(module.num_experts, -1, module.hidden_size)[place.expert]
            tokens = tokens[tokens.abs().sum(-1) > 0]
        else:
            tokens = args[0].reshape(-1, args[0].shape[-1])[(args[1] == place.expert).any(-1)]
        if len(tokens) and kind == "down_proj":
            weight = module.gate_up_proj[place.expert]
            if hasattr(module, "gate_up_proj_bias"):
                both = tokens @ weight + module.gate_up_proj_bias[place.expert]
                gate, up = both[:, ::2].clamp(max=module.limit), both[:, 1::2].clamp(-module.limit, module.limit)
                tokens = (up + 1) * gate * torch.sigmoid(gate * module.alpha)
            else:
                gate, up = (tokens @ (weight if len(args) == 1 else weight.T)).chunk(2, -1)
                tokens = nn.functional.silu(gate) * up
        if len(tokens):
            inputs.setdefault(key, []).append(tokens)
