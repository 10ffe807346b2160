"""Pruning by single arguments: what tests vary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.settings.stage_settings import PruneSettings
from calibrant.settings.target import parse_target
from calibrant.stages import pruning


def prune(
    model: str | Path,
    calibration: str | Path | None,
    method: str,
    sparsity: str,
    options: Mapping[str, str] | None = None,
    *,
    output: str | Path,
    statistics: str | Path | None = None,
    progress: bool = True,
    **computed: Any,
) -> dict[str, Any]:
    """Stage prune with its settings given one by one; `sparsity` is any target."""
    target = parse_target(sparsity)
    flags = {
        "sparsity": str(target.pattern) if target.pattern else None,
        "bits": target.width.bits if target.width else None,
        "group": target.width.group if target.width else None,
    }
    settings = PruneSettings(method=method, option=options or {}, **flags, **computed)
    return pruning.prune(model, calibration, output, settings, statistics=statistics, progress=progress)
