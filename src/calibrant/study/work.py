"""What a study and its targets will do, counted before anything runs; what several of them ask for counts once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.study.grid import Run, SetKey, calibration_sets, evaluated, full_rows, reads_dense_statistics
from calibrant.study.paths import reads
from calibrant.study.pool import filtered_first
from calibrant.study.report_inputs import report_files


@dataclass(frozen=True)
class Work:
    """The distinct artefacts of a study, or of some of its targets.

    Attributes:
        config: of any of them; settings apart from the experiment are the same for all.
        runs: models to evaluate.
        sets: calibration sets, those that are only scored included.
        scored: real sets and, for synthetic ones, the pools of samples that are scored: with filtering, every pool.
        references: sources that all others are compared with.
        contamination: whether evaluation items are looked for in the sources.
        inspected: jobs that look into masks or compare them.
        reports: number of reports.
    """

    config: dict[str, Any]
    runs: Sequence[Run]
    sets: Sequence[SetKey]
    scored: frozenset[str]
    references: int
    contamination: bool
    inspected: int
    reports: int

    @property
    def pools(self) -> list[str]:
        """Pools of generated samples."""
        return sorted({key.pool for key in self.sets if key.origin == "synthetic"})

    @property
    def masks(self) -> list[Run]:
        """Runs that prune."""
        return [run for run in self.runs if run.method != "dense"]

    @property
    def dense_statistics(self) -> list[SetKey]:
        """Calibration sets of which statistics of the dense model are collected."""
        options = self.config["pruning"]["options"]
        return sorted({r.calibration for r in self.runs if r.calibration and reads_dense_statistics(r.method, options)})


def work(configs: Sequence[dict[str, Any]]) -> Work:
    """The union of what resolved configurations of one study ask for.

    Raises:
        InputError: as `grid.runs`.
    """
    found: dict[Run, None] = {}
    sets: dict[SetKey, None] = {}
    scored: set[str] = set()
    references: set[str] = set()
    inspected, items = 0, False
    for config in configs:
        keys = calibration_sets(config)
        found |= dict.fromkeys(evaluated(config))
        sets |= dict.fromkeys(keys)
        shown = reads(config, "scores")
        scored |= {key.pool if key.origin == "synthetic" else key.name for key in keys if shown or key.origin != "real"}
        files = report_files(config)
        references |= set(files["similarity"])
        items |= bool(files["contamination"])
        inspected += sum(len(files.get(kind, ())) for kind in ("inspections", "overlap"))
    return Work(configs[0], list(found), list(sets), frozenset(scored), len(references), items, inspected, len(configs))


def jobs(work: Work) -> dict[str, int]:
    """The number of jobs of each stage."""
    config = work.config
    built = [spec for spec in config["tasks"].values() if any(spec.get(k) for k in ("kind", "files", "hub"))]
    real = sum(key.origin == "real" for key in work.sets)
    counted = {
        # A report names every source and text, used or not; only evaluations need tasks.
        "download": 1 + len(config["sources"]) + len(config["texts"]) + (len(built) if work.runs else 0),
        "number format": int(config["compute"]["dtype"] == "auto"),
        "sample": real,
        "generate": len(work.pools),
        "score": len(work.scored),
        "filter": len({(key.pool, key.drop) for key in work.sets if key.origin == "synthetic"})
        if filtered_first(config)
        else 0,
        "draw": len(work.sets) - real,
        "dense statistics": len(work.dense_statistics),
        "prune": len(work.masks),
        "evaluate": len(work.runs),
        "compare sources": work.references,
        "contamination": int(work.contamination),
        "inspect": work.inspected,
        "report": 2 * work.reports,  # an index and a report
    }
    return {name: count for name, count in counted.items() if count}


def counts(work: Work) -> dict[str, int]:
    """What a reader wants to know before the study runs."""
    length = work.config["calibration"]["length"]
    calibrated = [run.calibration for run in work.masks if run.calibration]
    return {
        "jobs": sum(jobs(work).values()),
        "calibration sets of real text": sum(key.origin == "real" for key in work.sets),
        "calibration sets of generated text": sum(key.origin == "synthetic" for key in work.sets),
        "pools of generated samples": len(work.pools),
        **({"samples in each pool": full_rows(work.config)} if work.pools else {}),
        "tokens to generate": len(work.pools) * full_rows(work.config) * length,
        "calibration tokens, over all masks": sum(key.samples for key in calibrated) * length,
        **{f"masks by {name}": n for name, n in sorted(Counter(run.method for run in work.masks).items())},
        "masks": len(work.masks),
        "evaluations": len(work.runs),
    }
