"""From a checkpoint's names to a model's parameters, by transformers' own conversion rules."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    dimensions, gate and up projections one after the other; those keys keep their expert and part.
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
