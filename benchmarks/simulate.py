"""The whole grid of a preset on N GPUs, simulated: Snakemake schedules every job, and jobs only sleep.

    .venv/bin/python benchmarks/simulate.py --gpus 1 8 64              # every target of dclm-7b: over 7,000 jobs

A job sleeps as long as the cost model says it takes on one GPU (src/calibrant/study/stage_needs.py), divided by a
factor that lets the GPUs be busy for --seconds in all; stages without a GPU sleep not at all. The workflow's rules and
Snakemake's greedy scheduler are the real ones. Printed for each N: makespan, utilisation (GPU time slept over makespan
x N), what Snakemake costs a job, and what follows for jobs of their real length.
"""

import argparse
import platform
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stubs import copy_workflow, stubbed_python, timed

from calibrant.study.estimate import stage_jobs
from calibrant.study.machines import machine
from calibrant.study.shapes import known_shape
from calibrant.study.stage_needs import stage_needs
from calibrant.study.targets import target_config, target_files
from calibrant.study.work import work

SCRIPTS = {
    "generate": "generate.py",
    "score": "score.py",
    "dense statistics": "dense_statistics.py",
    "prune": "prune.py",
    "evaluate": "evaluate.py",
}
GPU_RULES = ("generate", "score", "dense_statistics", "prune", "prune_without_data", "evaluate", "evaluate_dense")
POOL = "pool"  # in place of the number of samples: generated text, whose files are not named by it


def durations(preset: str) -> tuple[dict[tuple[str, str, str], float], float, int]:
    """Seconds of a job by script, method and samples; seconds of all jobs; the number of jobs on a GPU."""
    planned = work([target_config({"preset": preset, "experiment": "sources"}, name) for name in target_files()])
    shape = known_shape(planned.config["model"])
    rates = machine("gpu").rates
    found: dict[tuple[str, str, str], float] = {}
    total, jobs = 0.0, 0
    for stage, counted in stage_jobs(planned).items():
        for (samples, method), count in counted.items():
            needs = stage_needs(stage, planned.config, shape, rates, samples=samples, method=method)
            key = POOL if stage == "generate" or samples == planned.config["generation"]["samples"] else str(samples)
            found[SCRIPTS[stage], method, key if samples else "0"] = needs.seconds
            total += needs.seconds * count
            jobs += count
    return found, total, jobs


def sleep_commands(seconds: Mapping[tuple[str, str, str], float], scale: float) -> str:
    """Shell commands: how long a job sleeps, by its script, method and the samples that its output's name gives."""
    cases = [f"  {s}/{m}/{n}) sleep {value / scale:.4f} ;;" for (s, m, n), value in seconds.items()]
    return "\n".join(
        [
            "case $output in *-n[0-9]*-s[0-9]*) n=${output##*-n}; n=${n%%-*} ;; *) n=0 ;; esac",
            f"case $script in generate.py) n={POOL} ;; evaluate.py) n=0 ;; esac",
            f"case $output in */scores/generated/*) n={POOL} ;; esac",
            "case $script/$method/$n in",
            *cases,
            "esac",
        ]
    )


def simulate(preset: str, gpus: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Run the grid on so many pretended GPUs, which are busy for `seconds` if nothing waits."""
    table, total, jobs = durations(preset)
    scale = total / gpus / seconds
    copy_workflow(folder)
    python = stubbed_python(folder, sleep_commands(table, scale))
    command = [
        python,
        "-m",
        "snakemake",
        "--scheduler",
        "greedy",
        "--quiet",
        "rules",
        "host",
        "--config",
        f"preset={preset}",
    ]
    limits = ["--cores", str(4 * gpus + 4), "--resources", f"gpu={gpus}"]
    limits += ["--set-resources", *(f"{rule}:gpu=1" for rule in GPU_RULES)]
    plan = timed("plan", [*command, *limits, "--dry-run", "--", "paper"], folder)
    row = timed(f"{gpus} GPUs", [*command, *limits, "--", "paper"], folder)
    return row | {
        "gpus": gpus,
        "gpu_jobs": jobs,
        "scale": scale,
        "busy": total / scale,
        "real": total,
        "plan": plan["wall"],
    }


def summary(row: Mapping[str, Any]) -> dict[str, float]:
    """What follows from a run.

    overhead: seconds of the makespan beyond what planning and perfectly busy GPUs take, a job. real: utilisation if
    jobs were of their real length and each cost as much as here.
    """
    gpus, jobs = int(row["gpus"]), int(row["jobs"])
    makespan = float(row["wall"]) - float(row["plan"])
    overhead = max(0.0, makespan - float(row["busy"]) / gpus) / jobs
    hours = float(row["real"]) / gpus / 3600
    return {
        "makespan": makespan,
        "utilisation": float(row["busy"]) / (makespan * gpus),
        "overhead": overhead,
        "hours": hours,
        "real": hours / (hours + overhead * jobs / 3600),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="dclm-7b")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=150.0, help="that each GPU is busy (default 150)")
    options = parser.parse_args()
    rows = []
    for gpus in options.gpus:
        with tempfile.TemporaryDirectory(prefix="calibrant-simulation-") as scratch:
            rows.append(simulate(options.preset, gpus, options.seconds, Path(scratch)))
    print(f"{platform.machine()}, Python {platform.python_version()}, Snakemake {version('snakemake')}")
    names = ["GPUs", "jobs", "real hours", "scaled by", "makespan s", "utilisation", "processor s", "overhead a job ms",
             "real utilisation"]  # fmt: skip
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for row in rows:
        found = summary(row)
        cells = [str(row["gpus"]), f"{row['jobs']:,}", f"{found['hours']:,.0f}", f"{row['scale']:,.0f}"]
        cells += [f"{found['makespan']:.0f}", f"{found['utilisation']:.0%}", f"{row['processor']:.0f}"]
        cells += [f"{1000 * found['overhead']:.1f}", f"{found['real']:.2%}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
