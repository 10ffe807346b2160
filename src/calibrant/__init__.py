"""Calibrant: find and build the text on which a language model should be calibrated before pruning.

    import calibrant as cal
    cal.sample("text.jsonl", "model", "set.parquet", cal.SampleSettings(samples=8, length=512))

Each stage of the command line is a function here, with a class of settings (docs/api.md). Importing this package is
light: a stage is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from calibrant.version import __version__

if TYPE_CHECKING:
    from calibrant.calibration.sample_set import read_samples
    from calibrant.errors import InputError
    from calibrant.pruning.masks.mask_file import read_masks
    from calibrant.pruning.masks.masked_model import apply_masks, load_pruned_model
    from calibrant.settings.choose_settings import ChooseSettings
    from calibrant.settings.stage_settings import (
        ApplySettings,
        DownloadSettings,
        EvaluateSettings,
        InspectSettings,
        PlanSettings,
        PruneSettings,
        ScoreSettings,
        StatisticsSettings,
        SummarizeSettings,
    )
    from calibrant.settings.text_settings import (
        ContaminationSettings,
        ExportSettings,
        FilterSettings,
        GenerateSettings,
        SampleSettings,
        SimilaritySettings,
    )
    from calibrant.stages.application import apply
    from calibrant.stages.choose import choose
    from calibrant.stages.contamination import contamination
    from calibrant.stages.dense_statistics import statistics
    from calibrant.stages.download import download
    from calibrant.stages.evaluation import evaluate
    from calibrant.stages.export import export
    from calibrant.stages.filtering import filter
    from calibrant.stages.generation import generate
    from calibrant.stages.inspection import inspect
    from calibrant.stages.overlap import overlap
    from calibrant.stages.plan import plan
    from calibrant.stages.pruning import prune
    from calibrant.stages.sampling import sample
    from calibrant.stages.scoring import score
    from calibrant.stages.similarity import similarity
    from calibrant.stages.summary import summarize

_PLACES = {  # of what is neither a stage nor a settings class
    "InputError": "errors",
    "apply_masks": "pruning.masks.masked_model",
    "load_pruned_model": "pruning.masks.masked_model",
    "read_masks": "pruning.masks.mask_file",
    "read_samples": "calibration.sample_set",
}

__all__ = [
    "ApplySettings",
    "ChooseSettings",
    "ContaminationSettings",
    "DownloadSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FilterSettings",
    "GenerateSettings",
    "InputError",
    "InspectSettings",
    "PlanSettings",
    "PruneSettings",
    "SampleSettings",
    "ScoreSettings",
    "SimilaritySettings",
    "StatisticsSettings",
    "SummarizeSettings",
    "__version__",
    "apply",
    "apply_masks",
    "choose",
    "contamination",
    "download",
    "evaluate",
    "export",
    "filter",
    "generate",
    "inspect",
    "load_pruned_model",
    "overlap",
    "plan",
    "prune",
    "read_masks",
    "read_samples",
    "sample",
    "score",
    "similarity",
    "statistics",
    "summarize",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By name, not by import statements: every stage's digest (artefacts/code.py) would have what this file imports.
    if name.endswith("Settings"):
        table = importlib.import_module(f"{__name__}.settings.stage_settings").STAGE_SETTINGS
        return next(each for each in table.values() if each.__name__ == name)
    if name in _PLACES:
        module = f"{__name__}.{_PLACES[name]}"
    else:
        module = importlib.import_module(f"{__name__}.stages.commands").stage_module(name)
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
