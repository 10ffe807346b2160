"""YAML mappings: read one, lay one over another."""

import copy
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.study.strict_yaml import parse, read_text

# Given at a higher level, these replace the lower level's whole value instead of being merged into it:
# a user who names their own sources does not want the preset's as well.
REPLACED = ("model", "sources", "texts", "tasks", "grids", "layout", "choose")


def merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """`high` over `low`: mappings are merged key by key, except those in REPLACED; all else is replaced."""
    merged = copy.deepcopy(low)
    for key, value in high.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict) and key not in REPLACED:
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: missing file, broken YAML, a key given twice, or not a mapping.
    """
    value = parse(read_text(path), str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {type(value).__name__}, not a mapping of keys to values")
    return value
