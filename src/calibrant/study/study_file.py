"""A study's YAML file, or a preset by its name, as one validated configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.study.config import resolve_config
from calibrant.study.targets import target_config
from calibrant.study.yaml_mappings import merge, read_yaml

DEFAULT_EXPERIMENT = "sources"  # what config.yaml of the checkout has


def load_config(
    path: str | Path,
    base: str | Path = "config.yaml",
    target: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read a study's YAML file and resolve it; it lies over `base` where that exists, as for Snakemake.

    Where there is no `base`, the experiment is `DEFAULT_EXPERIMENT` unless the file names another.

    Args:
        path: the file; a preset's own will do.
        base: what it lies over.
        target: the table or figure in whose experiment's place the study's own is put.
        changes: what lies over both, as Snakemake's `--config`.

    Raises:
        InputError: the file is missing or is not a mapping, or the configuration is not valid.
    """
    under = read_yaml(base) if Path(base).is_file() else {"experiment": DEFAULT_EXPERIMENT}
    config = merge(under, read_yaml(path))
    return _resolved(merge(config, dict(changes or {})), target, str(path))


def load_preset(
    preset: str,
    base: str | Path = "config.yaml",
    target: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration of a preset by its name: `base` with this preset, as for Snakemake's `--config preset=NAME`.

    Where there is no `base`, the experiment is `DEFAULT_EXPERIMENT`. Arguments as of `load_config`.

    Raises:
        InputError: no such preset, or the configuration is not valid.
    """
    over = {"preset": preset, **(changes or {})}
    if Path(base).is_file():
        return load_config(base, base, target, over)
    return _resolved({"experiment": DEFAULT_EXPERIMENT, **over}, target, f"preset {preset}")


def _resolved(config: dict[str, Any], target: str | None, name: str) -> dict[str, Any]:
    return resolve_config(config, name) if target is None else target_config(config, target, name)
