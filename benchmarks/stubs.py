"""The workflow with stages that do nothing: what benchmarks of the workflow itself run.

`python`, as the rules call it, is a shell script that creates what the stage would have written, and may sleep first.
Rules, input functions, digests and parameters are the project's own, which knows nothing of stubs.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

STUB = """#!/bin/sh
# Stands for `python` in the rules: creates the files that the stage would have written.
script=${1##*/}
output= only= method= more=
while [ $# -gt 0 ]; do
  case $1 in
    --output) output=$2 ;;
    --only) only=$2 ;;
    --method) method=$2 ;;
    --duplicates|--dropped) more=$2 ;;
  esac
  shift
done
SLEEP
[ -z "$more" ] || : > "$more"
case $script in
  download.py)
    kind=${only%%:*} name=${only#*:}
    case $kind in
      model) mkdir -p "$output/model"; : > "$output/model/provenance.json" ;;
      task) : > "$output/tasks/${name}_test.jsonl"; : > "$output/tasks/$name.provenance.json" ;;
      *) for f in documents.parquet heldout.parquet provenance.json; do : > "$output/${kind}s/$name/$f"; done ;;
    esac ;;
  filter.py) : > "$output"; case $output in */filtered/*) : > "${output%.parquet}.dropped.parquet" ;; esac ;;
  evaluate.py|inspect_masks.py) : > "$output"; : > "${output%.json}.provenance.json" ;;
  summarize.py)
    mkdir -p "$output/tables" "$output/figures"
    for f in index.html summary.md results.parquet results.csv provenance.json; do : > "$output/$f"; done ;;
  tiny.py)
    mkdir -p "$output/model"
    for f in config.json model.safetensors tokenizer.json; do : > "$output/model/$f"; done
    for f in harbour orchard quarry meadow; do : > "$output/$f.jsonl"; done ;;
  *) : > "$output" ;;
esac
"""


def copy_workflow(folder: Path) -> None:
    """The project's workflow and library, in a folder of its own."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("workflow", "src", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def stubbed_python(folder: Path, sleep: str = "") -> str:
    """An environment like this one whose `python` is the stub; returns its interpreter.

    sleep: shell commands that run before the outputs are made; they know $script, $output and $method.
    """
    environment = folder / "stub"
    (environment / "bin").mkdir(parents=True)
    prefix = Path(sys.prefix)
    shutil.copy(prefix / "pyvenv.cfg", environment)
    (environment / "lib").symlink_to(prefix / "lib")
    (environment / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    stub = environment / "bin" / "python"
    stub.write_text(STUB.replace("SLEEP\n", f"{sleep}\n" if sleep else ""))
    stub.chmod(0o755)
    return str(environment / "bin" / "python3")


def timed(name: str, command: list[str], folder: Path) -> dict[str, object]:
    """Run a command; wall and processor seconds (its children's included), and the jobs that Snakemake counts."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if k != "CALIBRANT_WARM"}
    result = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        raise SystemExit(f"{name} failed:\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    totals = [line.split() for line in (result.stdout + result.stderr).splitlines() if line.startswith("total ")]
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name}: {wall:.1f} s", file=sys.stderr)
    return {"step": name, "jobs": int(totals[0][1]) if totals else 0, "wall": wall, "processor": processor}
