"""The targets: experiments that say how their runs are drawn, each a table or figure on any preset."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from calibrant.errors import InputError
from calibrant.study.config import resolve_config
from calibrant.study.config_layers import layer_folder, layers
from calibrant.study.pool import ENOUGH
from calibrant.study.validation import suggest
from calibrant.study.yaml_mappings import merge, read_yaml

# What an experiment with a layout may say. Everything else is the study's, the same for all its targets, which
# therefore share the files of a run: a path says what distinguishes a run from others within a study.
EXPERIMENT_KEYS = ("title", "layout", "grids")
PAPER = "paper"  # the page of all targets


@cache
def target_files() -> dict[str, dict[str, Any]]:
    """The experiments with a layout, by name: table1, table2, ..., figure1, ..., then the others.

    Raises:
        InputError: one of them sets more than `EXPERIMENT_KEYS`.
    """
    found = {}
    for path in layer_folder("experiment").glob("*.yaml"):
        content = read_yaml(path)
        if "layout" not in content:
            continue
        for key in content:
            if key not in EXPERIMENT_KEYS:
                raise InputError(
                    f"experiments/{path.name}: has {key}; an experiment with a layout shares its files with others and "
                    f"may set only {', '.join(EXPERIMENT_KEYS)}"
                )
        found[path.stem] = content
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def target_config(config: Mapping[str, Any], target: str, name: str = "config.yaml") -> dict[str, Any]:
    """The configuration of a target: the study's, with the target's experiment in place of its own.

    That of `PAPER` has the runs of all targets.

    Raises:
        InputError: as `resolve_config`, or no such target.
    """
    if target == PAPER:
        return _together([target_config(config, each, name) for each in target_files()])
    known = [*target_files(), PAPER]
    if target not in known:
        raise InputError(f"{name}: no target {target}{suggest(target, known)}; there are {', '.join(known)}")
    kept = {key: value for key, value in config.items() if key not in EXPERIMENT_KEYS}
    if merge(layers(dict(config), name), dict(config)).get("generation", {}).get("samples") == ENOUGH:
        # Targets share the study's pools, so that these are enough for the study's own sets.
        own = resolve_config(dict(config), name)["generation"]
        kept = merge(kept, {"generation": {"samples": own["samples"], "tokens": own["tokens"]}})
    return resolve_config({**kept, "experiment": target}, f"{name}, target {target}")


def _together(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """One configuration with the grids of several; each grid says its seeds, in which a compat set may differ."""
    grids = [{"seeds": config["seeds"], **grid} for config in configs for grid in config["grids"]]
    title = "Every table, figure and conclusion of the paper"
    layout = {"name": PAPER, "reads": [], "parameters": {}}
    return {**configs[0], "experiment": PAPER, "title": title, "grids": grids, "layout": layout}


def _order(name: str) -> tuple[int, str, int]:
    match = re.fullmatch(r"(table|figure)(\d+)", name)
    return (("table", "figure").index(match[1]), "", int(match[2])) if match else (2, name, 0)
