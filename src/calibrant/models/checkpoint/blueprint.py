"""The model that a configuration describes, built without memory, and whether the weights on disk are that model's.

Compared once, before anything is computed: what the headers hold with what the configuration would build.
"""

import copy
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint_config import require_causal_head
from calibrant.models.checkpoint.config_sizes import check_counts
from calibrant.models.checkpoint.language_part import build_whole, check_language_part, leave_out_towers
from calibrant.models.checkpoint.library_calls import told_in_one_line
from calibrant.models.checkpoint.weight_headers import StoredTensor

if TYPE_CHECKING:
    from calibrant.models.checkpoint.key_map import ParameterPlace

FLOATS = ("BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2")


@dataclass(frozen=True)
class Blueprint:
    """A model on the meta device, and where each tensor of the checkpoint goes in it.

    Of a model with vision or audio towers it is the rest, and `aside` the tensors of the towers.
    """

    model: Any
    places: dict[str, "ParameterPlace"]
    aside: frozenset[str] = frozenset()


def draw_blueprint(path: Path, config: Any, tensors: Mapping[str, StoredTensor]) -> Blueprint:
    """Build what a configuration describes, without memory, and compare it with the tensors of the weights.

    Of quantised checkpoints only the model is built: what their tensors must be is their package's affair.

    Args:
        path: the model's folder, for messages.
        config: its transformers configuration, which stays as it is.
        tensors: what its weights hold, by `weight_files.stored_tensors`.

    Raises:
        InputError: transformers cannot build it, it is no causal language model, or weights are missing, of other
            shapes, or of integers.
    """
    from transformers.initialization import no_init_weights

    from calibrant.models.checkpoint.key_map import KeyMap

    require_causal_head(path, config)
    check_counts(path, config, tensors)
    with building(path), torch.device("meta"), no_init_weights():
        model = build_whole(copy.deepcopy(config), dtype=torch.float32)
        check_language_part(path, config, model)
        places = KeyMap(model).places(tensors)
    if quantised(config):
        _check_quantiser(path, config.quantization_config)
    else:
        _check_shapes(path, model.state_dict(), places, tensors)
    leave_out_towers(model)
    kept = model.state_dict()
    there = {key: place for key, place in places.items() if place.parameter in kept}
    if not quantised(config):
        _check_complete(path, model, there)  # what a tower lacks, text does not miss
    return Blueprint(model, there, frozenset(places.keys() - there.keys()))


def build(config: Any, dtype: torch.dtype, **options: Any) -> Any:
    """The causal language model of a configuration, with weights as the surrounding context makes them; no towers."""
    model = build_whole(copy.deepcopy(config), dtype=dtype, **options)  # transformers writes the format into a config
    leave_out_towers(model)
    return model


def building(path: Path) -> AbstractContextManager[None]:
    """The context in which a model is built or filled."""
    return told_in_one_line(f"model {path}: cannot be loaded as a causal language model")


def quantised(config: Any) -> bool:
    """Whether a configuration says that its weights are no plain numbers."""
    return getattr(config, "quantization_config", None) is not None


def _check_quantiser(path: Path, found: Any) -> None:
    """Transformers takes weights quantised by a method that it does not know for plain ones."""
    from transformers.quantizers.auto import AutoHfQuantizer

    with building(path):
        known = isinstance(found, dict) and AutoHfQuantizer.supports_quant_method(found)
    if not known:
        method = found.get("quant_method") if isinstance(found, dict) else found
        raise InputError(f"model {path}: its config.json has quant_method {method}, which transformers does not know")


def _check_shapes(
    path: Path,
    parameters: Mapping[str, torch.Tensor],
    places: Mapping[str, "ParameterPlace"],
    tensors: Mapping[str, StoredTensor],
) -> None:
    for key, place in places.items():
        parameter, stored = parameters[place.parameter], tensors[key]
        if parameter.is_floating_point() and stored.dtype not in FLOATS:
            raise InputError(f"model {path}: weight {key} is of {stored.dtype}; weights must be floating-point numbers")
        if not place.converted and tuple(parameter.shape) != stored.shape:
            raise InputError(
                f"model {path}: weight {key} has shape {list(stored.shape)}; "
                f"its config asks for {list(parameter.shape)}"
            )


def _check_complete(path: Path, model: Any, places: Mapping[str, "ParameterPlace"]) -> None:
    """Every parameter has a tensor, or is tied to one that has.

    A converter that splits a tensor fills several parameters, of which only the first is known by name; of such
    models transformers says what is missing when it loads them.
    """
    if any(place.splits for place in places.values()):
        return
    found = {place.parameter for place in places.values()}
    for group in tied_groups(model):
        found |= group if group & found else set()
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_missing or []]
    missing = sorted(
        name
        for name, _ in model.named_parameters()
        if name not in found and not any(pattern.search(name) for pattern in ignored)
    )
    if missing:
        raise InputError(f"model {path}: {len(missing)} weights are missing, the first is {missing[0]}")


def tied_groups(model: Any) -> list[set[str]]:
    """Parameters that are one and the same, by their names."""
    groups: dict[str, set[str]] = {}
    for target, source in (getattr(model, "all_tied_weights_keys", None) or {}).items():
        groups.setdefault(source, {source}).add(target)
    return list(groups.values())
