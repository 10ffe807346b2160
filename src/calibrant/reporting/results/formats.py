"""The number formats that a study's masks and evaluations were computed in: more than one is said on the page."""

from collections import Counter
from collections.abc import Sequence

from calibrant.artefacts.provenance import read_provenance
from calibrant.pruning.masks.mask_record import mask_metadata
from calibrant.reporting.results.index import Run


def formats_of(run: Run) -> dict[str, str]:
    """`{"evaluations": ..., "masks": ...}` as the files of a run record it; those that record none are left out."""
    settings = read_provenance(run.evaluation).get("settings")
    recorded = {
        "evaluations": settings.get("dtype") if isinstance(settings, dict) else None,
        "masks": mask_metadata(run.masks).get("dtype") if run.masks is not None else None,
    }
    return {kind: str(dtype) for kind, dtype in recorded.items() if dtype is not None}


def mixture(runs: Sequence[Run]) -> list[str]:
    """A sentence for a study whose files have several number formats, which is then part of every difference."""
    counts = Counter((kind, dtype) for run in runs for kind, dtype in formats_of(run).items())
    if len({dtype for _, dtype in counts}) < 2:
        return []
    listed = ", ".join(f"{count} {kind} in {dtype}" for (kind, dtype), count in sorted(counts.items()))
    return [
        f"The runs have several number formats: {listed}. A difference between runs of different formats is "
        "in part the formats'; run the study anew in one (compute.dtype) to compare them."
    ]
