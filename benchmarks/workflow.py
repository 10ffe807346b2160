"""Plan, run and rerun the workflow with stages that do nothing, beside bare Snakemake with as many jobs.

    .venv/bin/python benchmarks/workflow.py --jobs 5000 --run          # plan, run, no-op rerun, bare Snakemake
    .venv/bin/python benchmarks/workflow.py --jobs 20000               # plan only

A study of about so many jobs (real and self-generated text, OWL, DSnoT, Wanda, as in the paper's grid) is made in a
folder of its own. Its stages are stubs: `python`, as the rules call it, is a shell script that creates what the stage
would have written. Rules, input functions, digests and parameters are the project's own. Wall-clock seconds and
processor seconds (of Snakemake and its jobs) of each step, one after the other on this machine.
"""

import argparse
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import yaml
from stubs import copy_workflow, stubbed_python, timed

SOURCES = ("north", "east", "south", "west")
MODEL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 400,
}
METHODS = ("wanda", "dsnot", "owl")
# A source and seed: a real and a synthetic set, one of them scored, statistics and masks and evaluations of both.
JOBS_A_SEED = len(SOURCES) * (3 + 2 * (1 + 2 * len(METHODS)))


def make_workspace(folder: Path, jobs: int) -> int:
    """Copy the workflow, write a study of about `jobs` jobs; returns its seeds."""
    copy_workflow(folder)
    seeds = max(1, round(jobs / JOBS_A_SEED))
    (folder / "text.jsonl").write_text('{"text": "none"}\n')
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(MODEL))
    (folder / "model" / "model.safetensors").touch()
    study = {
        "preset": "tiny",
        "study": "stubs",
        "model": {"path": "model"},
        "sources": {name: {"files": ["text.jsonl"]} for name in SOURCES},
        "texts": {},
        "tasks": {"next_sentence_north": {"kind": "next_sentence", "source": "north", "items": 6}},
        "seeds": seeds,
        "generation": {"samples": 10 * seeds},
        "inspect": {"sequences": 0},
        "grids": [{"methods": ["dense"]}, {"methods": list(METHODS), "sparsities": ["0.6"]}],
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return seeds


def bare_workflow(folder: Path, jobs: int) -> None:
    """As many jobs in chains of five that only touch their output."""
    folder.mkdir()
    rules = [f'rule all:\n    input:\n        expand("out/e-{{i}}", i=range({jobs // 5})),\n']
    names = "abcde"
    for before, name in zip(("", *names), names, strict=False):
        given = f'    input:\n        "out/{before}-{{i}}",\n' if before else ""
        rules.append(
            f'rule {name}:\n{given}    output:\n        "out/{name}-{{i}}",\n    shell:\n        "touch {{output}}"\n'
        )
    (folder / "Snakefile").write_text("\n\n".join(rules))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--run", action="store_true", help="run the study, rerun it, and edit a setting")
    parser.add_argument("--bare", action="store_true", help="also bare Snakemake with as many jobs")
    parser.add_argument("--folder", type=Path, help="keep the folder (for a profile)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="calibrant-bench-") as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        seeds = make_workspace(folder, options.jobs)
        python = stubbed_python(folder)
        ours = [python, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", "--quiet", "rules", "host",
                "--configfile", "study.yaml"]  # fmt: skip
        rows = [timed("plan", [*ours, "--dry-run"], folder)]
        if options.run:
            rows.append(timed("run", ours, folder))
            rows.append(timed("no-op rerun", ours, folder))
        if options.bare:
            bare_workflow(folder / "bare", int(str(rows[0]["jobs"])))
            bare = [*ours[: ours.index("--configfile")]]
            rows.append(timed("bare: plan", [*bare, "--dry-run"], folder / "bare"))
            if options.run:
                rows.append(timed("bare: run", bare, folder / "bare"))
                rows.append(timed("bare: no-op rerun", bare, folder / "bare"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
          f" Snakemake {version('snakemake')}; {seeds} seeds")  # fmt: skip
    print(f"{'step':<18} {'jobs':>7} {'wall s':>8} {'processor s':>12} {'wall ms a job':>14} {'processor ms':>13}")
    for row in rows:
        jobs, wall, processor = int(str(row["jobs"])), float(str(row["wall"])), float(str(row["processor"]))
        each = [f"{1000 * wall / jobs:14.1f}", f"{1000 * processor / jobs:13.1f}"] if jobs else []
        print(f"{row['step']:<18} {jobs:>7} {wall:>8.1f} {processor:>12.1f} " + " ".join(each))


if __name__ == "__main__":
    main()
