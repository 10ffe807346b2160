"""The files that a configuration lies over: compat set, preset (and the presets it extends), experiment."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from calibrant.errors import InputError, shown_value
from calibrant.study.older_keys import with_present_keys
from calibrant.study.validation import suggest
from calibrant.study.yaml_mappings import merge, read_yaml

DEFAULT_COMPAT = "paper"
UNDER = "choose"  # the preset that studies of `calibrant choose` lie over; it names no model and no text
FOLDERS = {"preset": "presets", "experiment": "experiments", "compat": "compat"}


def layer_folder(kind: str) -> Path:
    """The library's folder of files of one kind: preset, experiment or compat."""
    return Path(__file__).with_name(FOLDERS[kind])


def layers(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Compat set < presets < experiment, merged: what `config` lies over.

    Raises:
        InputError: `preset`, `experiment`, `compat` or a preset's `extends` names no file.
    """
    preset = presets(_chosen("preset", config, name), name)
    if config.get("extends") not in (None, preset.get("extends")):
        raise InputError(
            f"{name}: extends is {shown_value(config['extends'])}; only a preset's own file says what it is laid over: "
            "leave it out"
        )
    experiment = _file("experiment", _chosen("experiment", config, name), name)
    if "grids" in experiment:
        axes = merge(preset.get("axes", {}), with_present_keys(config, name).get("axes", {}))
        experiment["grids"] = along_axes(experiment["grids"], axes)
    compat = config.get("compat", experiment.get("compat", preset.get("compat", DEFAULT_COMPAT)))
    low = compat_settings(compat, str(config["preset"]), str(config["experiment"]), name)
    return merge(merge(low, preset), experiment)


def presets(preset: str, name: str) -> dict[str, Any]:
    """A preset's file over those that it extends, which may extend others.

    Raises:
        InputError: no such preset, a circle, or a file that calls itself otherwise.
    """
    chain: list[dict[str, Any]] = []
    seen: list[str] = []
    current: str | None = preset
    while current is not None:
        if current in seen:
            raise InputError(f"preset {current}: extends itself ({' → '.join([*seen, current])})")
        seen.append(current)
        content = _file("preset", current, name if len(seen) == 1 else f"preset {seen[-2]}, extends")
        if content.get("preset", current) != current:
            raise InputError(f"presets/{current}.yaml: preset is {content['preset']!r}; it must be the file's own name")
        chain.append(content)
        current = content.get("extends")
    merged: dict[str, Any] = {}
    for content in reversed(chain):
        merged = merge(merged, content)
    if "choose" not in chain[0]:  # a race is sized for the preset that has it
        merged.pop("choose", None)
    return merged


def preset_names() -> tuple[str, ...]:
    """All presets that say which model and which text: those that may stand for a study by themselves."""
    return tuple(name for name in _choices("preset") if name != UNDER)


def compat_settings(compat: Any, preset: str, experiment: str, name: str) -> dict[str, Any]:
    """The settings of a compat set, with those that it has for this preset and this experiment alone.

    Raises:
        InputError: no such set.
    """
    content = merge(_file("compat", DEFAULT_COMPAT, name), _file("compat", compat, name))
    settings: dict[str, Any] = content.get("settings", {})
    for kind, chosen in (("presets", preset), ("experiments", experiment)):
        settings = merge(settings, content.get(kind, {}).get(chosen, {}))
    return settings


def along_axes(grids: Any, axes: Mapping[str, Any]) -> Any:
    """Grids whose lists of several values are those of `axes`, where it has them."""
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        return grids  # the schema says what is wrong
    return [
        {k: axes[k] if k in axes and isinstance(v, list) and len(v) > 1 else v for k, v in grid.items()}
        for grid in grids
    ]


def _chosen(kind: str, config: Mapping[str, Any], name: str) -> str:
    if config.get(kind) is None:
        raise InputError(
            f"{name}: lacks the key {kind}, and the working folder has no config.yaml to supply it; "
            f"allowed: {', '.join(_choices(kind))}"
        )
    return str(config[kind])


def _file(kind: str, chosen: Any, name: str) -> dict[str, Any]:
    known = _choices(kind)
    if chosen not in known:
        raise InputError(
            f"{name}: {kind} is {shown_value(chosen)}{suggest(chosen, known)}; allowed: {', '.join(known)}"
        )
    file = layer_folder(kind) / f"{chosen}.yaml"
    return with_present_keys(read_yaml(file), file.name)


@cache
def _choices(kind: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in layer_folder(kind).glob("*.yaml")))
