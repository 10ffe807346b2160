"""Merge preset, experiment and overrides into one validated configuration."""

import copy
from pathlib import Path
from typing import Any

import yaml

from calibrant.errors import InputError
from calibrant.study.validate import fill_defaults, validate

# Given at a higher level, these replace the lower level's whole value instead of being merged into it:
# a user who names their own sources does not want the preset's as well.
REPLACED = ("model", "sources", "texts", "tasks", "grids")
SCHEMA = Path("schemas", "config.schema.yaml")
SPEC_KINDS = {"model": ("archive", "hub", "path"), "sources": ("archive", "files", "hub")}


def workflow_root() -> Path:
    """The checkout's workflow folder, with schemas, presets and experiments.

    Raises:
        InputError: the library is installed without its checkout.
    """
    root = Path(__file__).resolve().parents[3] / "workflow"
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; presets need a checkout of Calibrant, installed with pip install -e")
    return root


def load_config(path: str | Path, base: str | Path = "config.yaml") -> dict[str, Any]:
    """Read a study's YAML file and resolve it; it lies over `base` where that exists, as for Snakemake.

    Raises:
        InputError: the file is missing or is not a mapping, or the configuration is not valid.
    """
    config = read_yaml(path)
    if Path(base).is_file():
        config = merge(read_yaml(base), config)
    return resolve_config(config, name=str(path))


def resolve_config(config: dict[str, Any], name: str = "config.yaml") -> dict[str, Any]:
    """Merge preset < experiment < config, validate, fill defaults, and check what a schema cannot.

    Raises:
        InputError: names the key, the value and what is allowed.
    """
    root = workflow_root()
    layers = [_layer(root / f"{kind}s", config, kind, name) for kind in ("preset", "experiment")]
    merged: dict[str, Any] = {}
    for layer in [*layers, config]:
        merged = merge(merged, layer)
    if "sources" in config and "tasks" not in config:
        merged["tasks"] = without_replaced_sources(merged["tasks"], merged["sources"])
    schema = read_yaml(root / SCHEMA)
    validate(merged, schema, name)
    filled: dict[str, Any] = fill_defaults(merged, schema, schema)
    filled.setdefault("study", filled["preset"])
    filled["tasks"] = expand_tasks(filled["tasks"], list(filled["sources"]))
    check_specs(filled, name)
    return filled


def study_keys() -> set[str]:
    """The top-level keys that a study may have."""
    return set(read_yaml(workflow_root() / SCHEMA)["properties"])


def merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """`high` over `low`: mappings are merged key by key, except those in REPLACED; all else is replaced."""
    merged = copy.deepcopy(low)
    for key, value in high.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict) and key not in REPLACED:
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def without_replaced_sources(tasks: dict[str, Any], sources: Any) -> dict[str, Any]:
    """The preset's tasks without those built from its own sources, which a configuration has replaced."""
    known = {"all", *sources} if isinstance(sources, dict) else {"all"}
    return {name: spec for name, spec in tasks.items() if not spec.get("kind") or spec["source"] in known}


def expand_tasks(tasks: dict[str, Any], sources: list[str]) -> dict[str, Any]:
    """A task with `source: all` becomes one task NAME_SOURCE for each source."""
    expanded: dict[str, Any] = {}
    for name, spec in tasks.items():
        if spec.get("source") == "all":
            expanded |= {f"{name}_{source}": {**spec, "source": source} for source in sources}
        else:
            expanded[name] = spec
    return expanded


def check_specs(config: dict[str, Any], name: str) -> None:
    """Checks that JSON schema would report badly: one kind of origin each, sources that exist.

    Raises:
        InputError: names the key.
    """
    entries = [("model", config["model"], SPEC_KINDS["model"])]
    for section in ("sources", "texts"):
        entries += [(f"{section}.{key}", spec, SPEC_KINDS["sources"]) for key, spec in config[section].items()]
    for key, spec, kinds in entries:
        given = [kind for kind in kinds if kind in spec]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise InputError(f"{name}: {key} has {found}; it must have exactly one of {', '.join(kinds)}")
        archive = spec.get("archive")
        if archive and ("package" in archive) == ("file" in archive):
            raise InputError(f"{name}: {key}.archive must have either package or file")
    for key, spec in config["tasks"].items():
        if spec.get("kind") == "next_sentence":
            if spec.get("source") not in config["sources"]:
                _unknown_source(f"tasks.{key}.source", spec.get("source"), config, name)
            if not key.startswith("next_sentence_"):
                raise InputError(
                    f"{name}: tasks.{key} is of kind next_sentence; its name must begin with next_sentence_"
                )
    for index, grid in enumerate(config["grids"]):
        named = grid.get("sources", ())
        for source in named if isinstance(named, list) else ():
            if source not in config["sources"]:
                _unknown_source(f"grids.{index}.sources", source, config, name)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: missing file, broken YAML, or not a mapping.
    """
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {type(value).__name__}, not a mapping of keys to values")
    return value


def _layer(folder: Path, config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    choices = sorted(p.stem for p in folder.glob("*.yaml"))
    chosen = config.get(kind)
    if chosen is None:
        raise InputError(
            f"{name}: lacks the key {kind}, and the working folder has no config.yaml to supply it; "
            f"allowed: {', '.join(choices)}"
        )
    if chosen not in choices:
        raise InputError(f"{name}: {kind} is {chosen!r}; allowed: {', '.join(choices)}")
    return read_yaml(folder / f"{chosen}.yaml")


def _unknown_source(key: str, value: Any, config: dict[str, Any], name: str) -> None:
    raise InputError(
        f"{name}: {key} is {value!r}, which is no source of this study; its sources: {', '.join(config['sources'])}"
    )
