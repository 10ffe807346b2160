"""The files that a report is made from: the inputs of its rule."""

from typing import Any

from calibrant.study.file_layout import Layout, reads
from calibrant.study.grid import calibration_sets, runs
from calibrant.study.inspected_masks import compared, inspections


def report_files(config: dict[str, Any]) -> dict[str, list[str]]:
    """Everything that the index of a resolved configuration names, by kind, each file once.

    Raises:
        InputError: as `grid.runs` and `inspection.inspections`.
    """
    layout = Layout(config["study"])
    found = runs(config)
    keys = calibration_sets(config) if reads(config, "scores") else []
    sidecars = [(kind, name) for kind in ("sources", "texts") for name in config[kind]]
    return {
        "evaluations": [layout.evaluation(run) for run in found],
        "masks": [layout.masks(run) for run in found if run.method != "dense"],
        "sets": _once(layout.calibration_set(run.calibration) for run in found if run.calibration),
        "scores": _once(layout.scores(key) for key in keys),
        "samples": _once(layout.samples(key) for key in keys),
        "similarity": layout.similarities(config),
        "contamination": layout.contaminations(config),
        "inspections": [layout.inspection(inspection.run) for inspection in inspections(config)],
        "overlap": [layout.overlap()] if compared(config) else [],
        "provenance": [layout.provenance(kind, name) for kind, name in sidecars],
    }


def _once(paths: Any) -> list[str]:
    return sorted(set(paths))
