"""The files that a report is made from: the inputs of its rule."""

from typing import Any

from calibrant.study.grid import calibration_sets, runs
from calibrant.study.inspected_masks import compared, inspections
from calibrant.study.paths import StudyPaths, reads


def report_files(config: dict[str, Any]) -> dict[str, list[str]]:
    """Everything that the index of a resolved configuration names, by kind, each file once.

    Raises:
        InputError: as `grid.runs` and `inspection.inspections`.
    """
    paths = StudyPaths(config["study"])
    found = runs(config)
    keys = calibration_sets(config) if reads(config, "scores") else []
    sidecars = [(kind, name) for kind in ("sources", "texts") for name in config[kind]]
    return {
        "evaluations": [paths.evaluation(run) for run in found],
        "masks": [paths.masks(run) for run in found if run.method != "dense"],
        "sets": _once(paths.calibration_set(run.calibration) for run in found if run.calibration),
        "scores": _once(paths.scores(key) for key in keys),
        "samples": _once(paths.samples(key) for key in keys),
        "similarity": paths.similarities(config),
        "contamination": paths.contaminations(config),
        "inspections": [paths.inspection(inspection.run) for inspection in inspections(config)],
        "overlap": [paths.overlap()] if compared(config) else [],
        "provenance": [paths.provenance(kind, name) for kind, name in sidecars],
    }


def _once(paths: Any) -> list[str]:
    return sorted(set(paths))
