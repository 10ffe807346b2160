"""Sizes in a config.json that no model has, refused before anything is built of them."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.models.checkpoint.weight_headers import StoredTensor

SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
NEEDED = ("vocab_size", "hidden_size", "num_hidden_layers")
COUNT = re.compile(r"^(num|n)_.*(layer|block|head|expert)|(layers|blocks|heads|experts|depth)$")  # of modules
ANY_MODEL = 4096  # of a kind of module; a configuration may hold counts of parts that it leaves out


def check_sizes(path: Path, config: Any) -> None:
    """Refuse sizes of a configuration's text part that are no whole numbers of 1 or more, and numbers that are NaN.

    Raises:
        InputError: naming the key, as config.json has it, and the value.
    """
    text = config.get_text_config()
    given = vars(text)
    names = getattr(text, "attribute_map", {})
    for size in SIZES:
        name = names.get(size, size)
        value = given.get(name)
        if value is None and not (size in NEEDED and name in given):
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            if type(one) is not int or one < 1:
                raise InputError(
                    f"model {path}: its config.json has {name} {one!r}; must be a whole number of 1 or more"
                )
    for name, value in _leaves(config.to_dict()):
        if isinstance(value, float) and math.isnan(value):
            raise InputError(f"model {path}: its config.json has {name} NaN; must be a number")


def check_counts(path: Path, config: Any, tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse counts of layers, heads and experts that the weights cannot have: building so many would never end.

    Whatever a model has n of shows in its weights, as n tensors or as a dimension of n or more.

    Raises:
        InputError: naming the key and the value.
    """
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(tensors):
        raise InputError(
            f"model {path}: its config.json has {layers} layers, but the weights are only {len(tensors)} tensors"
        )
    most = max(ANY_MODEL, len(tensors), *(size for tensor in tensors.values() for size in tensor.shape))
    for name, value in _leaves(config.to_dict()):
        if type(value) is int and value > most and COUNT.search(name):
            raise InputError(
                f"model {path}: its config.json has {name} {value}, but the weights are {len(tensors)} tensors with no "
                "dimension as large"
            )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested mappings, by its key; list entries by their list's."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, name)
    else:
        yield name, value
