"""Keys of a configuration that were called otherwise: `targets` were `sparsities` before there were widths."""

from collections.abc import Iterator, Mapping
from typing import Any

from calibrant.errors import InputError

OLDER = {"sparsities": "targets", "sparsity": "target"}


def with_present_keys(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration, or a part of one, in which older keys have their present names; the same otherwise.

    Args:
        config: checked by the schema, or a layer of the library's own.
        name: of its file, for messages.

    Raises:
        InputError: a section has a key under both names.
    """
    changed = dict(config)
    for section in ("axes", "choose", "inspect"):
        if isinstance(changed.get(section), dict):
            changed[section] = dict(_renamed(changed[section], f"{name}: {section}"))
    if isinstance(changed.get("grids"), list):
        changed["grids"] = [
            dict(_renamed(grid, f"{name}: grids.{index}")) if isinstance(grid, dict) else grid
            for index, grid in enumerate(changed["grids"])
        ]
    return changed


def _renamed(section: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        present = OLDER.get(key, key)
        if present != key and present in section:
            raise InputError(
                f"{where} has {present} and {key}, which are two names of one key; keep {present}, with all values"
            )
        yield present, value
