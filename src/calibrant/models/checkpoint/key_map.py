"""From a checkpoint's names to a model's parameters, by transformers' own conversion rules."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key


@dataclass(frozen=True)
class ParameterPlace:
    """Where a checkpoint tensor goes: a parameter, and for stacked experts which expert and which share of its rows.

    converted: transformers makes the parameter of several tensors, or changes their layout.
    splits: transformers makes several parameters of the tensor; this is the first.
    """

    parameter: str
    expert: int | None = None
    part: int = 0
    parts: int = 1
    converted: bool = False
    splits: bool = False

    def view(self, parameter: Tensor) -> Tensor:
        """The checkpoint tensor's values inside the model's parameter."""
        if self.expert is None:
            return parameter
        rows = parameter.shape[1] // self.parts
        return parameter[self.expert, self.part * rows : (self.part + 1) * rows]


class KeyMap:
    """Checkpoint key -> place in a model.

    Experts that the checkpoint stores one by one are stacked by transformers into parameters of three
    dimensions, gate and up projections one after the other; those keys keep their expert and part. A tensor that
    holds all experts of a layer in the checkpoint too has one place, the whole parameter.
    """

    def __init__(self, model: Any, conversions: Sequence[Any] | None = None) -> None:
        """`conversions` are the model's, for callers that have them already."""
        self._parameters: dict[str, Tensor] = model.state_dict()
        self._prefix = model.base_model_prefix
        conversions = get_model_conversion_mapping(model) if conversions is None else conversions
        self._renamings = [entry for entry in conversions if isinstance(entry, WeightRenaming)]
        self._converters = [entry for entry in conversions if isinstance(entry, WeightConverter)]

    def place(self, key: str) -> ParameterPlace | None:
        """Where a key goes; None when the model has no place for it."""
        target, pattern = rename_source_key(key, self._renamings, self._converters, self._prefix, self._parameters)
        if target not in self._parameters and key in self._parameters:
            return ParameterPlace(key)
        if target not in self._parameters:
            return None
        if pattern is None:
            return ParameterPlace(target)
        converter = next(entry for entry in self._converters if pattern in entry.source_patterns)
        splits = len(converter.target_patterns) > 1
        if "*" not in pattern or self._parameters[target].ndim != 3:
            return ParameterPlace(target, converted=True, splits=splits)
        patterns = converter.source_patterns
        number = re.search(r"(\d+)".join(map(re.escape, pattern.split("*"))), key)
        assert number is not None
        return ParameterPlace(target, int(number[1]), patterns.index(pattern), len(patterns), True, splits)

    def places(self, keys: Iterable[str]) -> dict[str, ParameterPlace]:
        """Every key that has a place."""
        found = {key: self.place(key) for key in keys}
        return {key: place for key, place in found.items() if place is not None}

    def of_linear(self, name: str) -> ParameterPlace | None:
        """Where the weight of a linear goes, by its name in mask files; None when the model has no such linear.

        NAME.weight is its key; where no such key has a place, and NAME is STACK.3, it is slice 3 of the tensor
        STACK.weight or STACK.
        """
        place = self.place(f"{name}.weight")
        stack, _, number = name.rpartition(".")
        if place is not None or not re.fullmatch("[0-9]{1,9}", number):
            return place
        for key in (f"{stack}.weight", stack):
            whole = self.place(key)
            if whole is not None and is_stack(whole, self._parameters[whole.parameter], int(number)):
                return replace(whole, expert=int(number))
        return None


def is_stack(place: ParameterPlace, parameter: Tensor, slices: int = 0) -> bool:
    """Whether a checkpoint tensor is stored as the model has it, with more than so many slices in three dimensions."""
    return place.expert is None and not place.converted and parameter.ndim == 3 and slices < len(parameter)


def stored_in(
    place: ParameterPlace, places: Mapping[str, ParameterPlace], keys: Iterable[str]
) -> tuple[str, int | None]:
    """The checkpoint tensor that holds a linear's weight, and which slice of it; None for all of it.

    Args:
        place: the linear's, by `KeyMap.of_linear`.
        places: of the checkpoint's keys.
        keys: those that make the place's parameter (`StreamedModel.sources`).
    """
    for key in keys:
        found = places[key]
        if (found.expert, found.part) == (place.expert, place.part):
            return key, None
        if found.expert is None:
            return key, place.expert
    raise ValueError(f"{place}: no tensor of the checkpoint makes it")
