"""Pruning by single arguments: what tests vary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.settings.stage_settings import PruneSettings
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
    """Stage prune with its settings given one by one."""
    settings = PruneSettings(method=method, sparsity=sparsity, option=options or {}, **computed)
    return pruning.prune(model, calibration, output, settings, statistics=statistics, progress=progress)
