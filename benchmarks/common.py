"""What all benchmarks share: interleaved runs, medians and ratios, and the machine and versions they hold for."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint.resolution import resolve_dtype
from calibrant.models.compute.freed_memory import keep_freed_memory
from calibrant.models.compute.hardware import hardware
from calibrant.models.compute.number_formats import dtype_name

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "data/smollm2-135m/model"
HOW_TO_GET_IT = ".venv/bin/snakemake --cores all data/smollm2-135m/model"
CPU = torch.device("cpu")
PACKAGES = ("calibrant", "torch", "transformers", "numpy", "lm_eval")


@dataclass
class Comparison:
    """Seconds of every run of every case; wall clock, and processor time of this process.

    The first case is what the others are compared with. A ratio is the median over rounds of its time by theirs in
    the same round, so that what slows a whole round down (another user of the machine) cancels.
    """

    title: str
    amount: float | None = None  # of work in a run, such as tokens, for a rate
    unit: str = ""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)  # case, or a case left out -> remark

    def median(self, name: str) -> float:
        """Median wall-clock seconds of a case."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str | None = None) -> float:
        """How many times faster `name` is than `to` (by default the first case)."""
        base = self.seconds[to or next(iter(self.seconds))]
        return statistics.median(b / own for b, own in zip(base, self.seconds[name], strict=True))

    def markdown(self) -> str:
        """A table with a line for each case."""
        rate = f" {self.unit}/s |" if self.amount else ""
        lines = [
            f"### {self.title}",
            "",
            f"| case | median s | fastest s | processor s |{rate} times the first | |",
            "|---|---|---|---|" + ("---|" if self.amount else "") + "---|---|",
        ]
        for name, runs in self.seconds.items():
            cells = [name, f"{self.median(name):.3g}", f"{min(runs):.3g}"]
            cells.append(f"{statistics.median(self.processor[name]):.3g}")
            if self.amount:
                cells.append(f"{self.amount / self.median(name):.4g}")
            cells += [f"{self.ratio(name):.2f}", self.notes.get(name, "")]
            lines.append("| " + " | ".join(cells) + " |")
        skipped = [f"- {name}: {note}" for name, note in self.notes.items() if name not in self.seconds]
        return "\n".join([*lines, *(["", *skipped] if skipped else [])])

    def as_json(self) -> dict[str, Any]:
        """Everything measured, and what follows from it."""
        return {
            "title": self.title,
            "amount": self.amount,
            "unit": self.unit,
            "seconds": self.seconds,
            "processor_seconds": self.processor,
            "medians": {name: self.median(name) for name in self.seconds},
            "ratios": {name: self.ratio(name) for name in self.seconds},
            "notes": self.notes,
        }


def compare(
    title: str,
    cases: Mapping[str, Callable[[], Any]],
    *,
    repeats: int = 3,
    warm_up: int = 1,
    amount: float | None = None,
    unit: str = "",
    notes: Mapping[str, str] | None = None,
) -> tuple[Comparison, dict[str, Any]]:
    """Run the cases one after the other, `repeats` times round, after `warm_up` rounds that are not counted.

    Returns:
        The times, and what each case returned the last time it ran (to check that they did the same work).
    """
    comparison = Comparison(title, amount, unit, notes=dict(notes or {}))
    results: dict[str, Any] = {}
    for round_ in range(-warm_up, repeats):
        for name, case in cases.items():
            wall, processor = time.perf_counter(), time.process_time()
            results[name] = case()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            print(f"{title}: {name} {wall:.3g} s{' (warm-up)' if round_ < 0 else ''}", file=sys.stderr)
            if round_ >= 0:
                comparison.seconds.setdefault(name, []).append(wall)
                comparison.processor.setdefault(name, []).append(processor)
    return comparison, results


def machine(dtype: str | None = None) -> dict[str, Any]:
    """Where and with what this runs, and in which number format; nothing that names the machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "instruction_sets": hardware(CPU).text,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "number_format": dtype,
        "memory_GiB": memory(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
        "date": time.strftime("%Y-%m-%d"),
    }


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name: as PyTorch knows it, else as the system does."""
    if name := str(torch.cpu.get_capabilities().get("cpu_name") or "").strip():
        return name
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def memory() -> float | None:
    """GiB of this machine; None where the system does not say. psutil reads /proc on Linux, which may not be there."""
    try:
        found = psutil.virtual_memory().total
    except (OSError, psutil.Error):
        try:
            found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, AttributeError):
            return None
    return round(found / 2**30, 1)


def report(
    name: str,
    comparisons: Sequence[Comparison],
    output: Path | None,
    facts: Mapping[str, Any] | None = None,
    dtype: str | None = None,
) -> None:
    """Print Markdown: the machine, a table for each comparison, other facts; the same as JSON and Markdown files.

    Args:
        name: of the benchmark, `prune`; also the files' names.
        comparisons: the tables.
        output: folder for `NAME.json` and `NAME.md`; None writes no files.
        facts: what was checked beside the times, printed as a list.
        dtype: the number format of all of them, where it is one.
    """
    where = machine(dtype)
    header = "; ".join(f"{key} {value}" for key, value in where.items() if value is not None)
    parts = [f"## {name}", header, *(comparison.markdown() for comparison in comparisons)]
    if facts:
        parts.append("\n".join(f"- {key}: {value}" for key, value in facts.items()))
    text = "\n\n".join(parts)
    print(text)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        tables = [comparison.as_json() for comparison in comparisons]
        whole = {"benchmark": name, "machine": where, "comparisons": tables, "facts": dict(facts or {})}
        (output / f"{name}.json").write_text(json.dumps(whole, indent=1, default=str) + "\n")
        (output / f"{name}.md").write_text(text + "\n")


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has: --model, --dtype, --repeats, --threads, --output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=MODEL, help="model folder (default: the embedded SmolLM2-135M)")
    parser.add_argument(
        "--dtype", default="auto", help="bfloat16, float32, float16 or auto (default), what a study would take here"
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds that count (default 3)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    parser.add_argument("--output", type=Path, help="folder for JSON and Markdown files")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, set the threads, and say how to get the model when it is not there.

    `dtype` is then the name of the number format that --dtype is on this processor.
    """
    options = parser.parse_args()
    if not (options.model / "config.json").exists():
        parser.error(f"--model {options.model}: no model there; the default one is made by: {HOW_TO_GET_IT}")
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        chosen = resolve_dtype(options.model, options.dtype, "cpu")
    except InputError as error:
        parser.error(str(error))
    chosen.say()
    options.dtype = dtype_name(chosen.dtype)
    keep_freed_memory()  # for everything that runs in this process, what Calibrant is compared with too
    return options
