"""What the jobs of a race took, from the benchmarks that Snakemake writes: times of a machine, apart from results."""

import json
from pathlib import Path
from typing import Any

STAGES = {  # folder of benchmarks -> what it is called
    "generate": "generate",
    "score": "score",
    "sample": "sample",
    "statistics": "dense statistics",
    "prune": "prune",
    "evaluate": "evaluate",
    "value": "value",
}
EACH_SET = ("generate", "score", "sample", "statistics", "prune", "evaluate")


def spent(data: Path, cores: int) -> dict[str, Any]:
    """Seconds of all jobs by stage, their numbers, and seconds that a set took; none where there are no benchmarks.

    Args:
        data: the study's folder.
        cores: jobs at a time.
    """
    seconds: dict[str, float] = {}
    jobs: dict[str, int] = {}
    for folder, name in STAGES.items():
        for file in sorted((data / "benchmarks" / folder).rglob("*.jsonl")):
            found = _seconds(file)
            if found is not None:
                seconds[name] = seconds.get(name, 0.0) + found
                jobs[name] = jobs.get(name, 0) + 1
    sets = jobs.get("evaluate", 0)
    each = sum(seconds.get(STAGES[folder], 0.0) for folder in EACH_SET) / sets if sets else None
    return {
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "jobs": sum(jobs.values()),
        "jobs_by_stage": jobs,
        "seconds_a_set": None if each is None else round(each, 1),
        "cores": cores,
    }


def _seconds(file: Path) -> float | None:
    try:
        return float(json.loads(file.read_text().splitlines()[0])["s"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):  # a job that is running, or was killed
        return None
