"""Time and memory of pruning, scoring and generating against samples, length, layers and width; the cost model's fit.

    .venv/bin/python benchmarks/scaling.py --output reports/kept/scaling

Random Llama models, one thread; each measurement in a process of its own (forked, so that nothing is imported twice),
as often as --repeats says, the least processor time taken. The rates of this machine that follow are printed, with the
residuals of every measurement, and belong into src/calibrant/study/assumptions.yaml.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from common import machine
from fitting import fit, predicted, slope

from calibrant.models.compute.number_formats import choose_number_format, dtype_name
from calibrant.settings.batches import SCORING_TOKENS
from calibrant.study import cost
from calibrant.study.shapes import Shape

VOCABULARY = 4096
HEAD = 64  # width of an attention head
STAGES = ("prune", "score", "generate")
BYTES = {"bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Point:
    """One measurement: a model's shape, so many sequences of so many tokens."""

    axis: str
    layers: int = 4
    width: int = 512
    samples: int = 4
    length: int = 512

    @property
    def shape(self) -> Shape:
        inner = 64 * round(self.width * 2.75 / 64)
        return Shape(self.layers, self.width, inner, self.width, self.width // 2, VOCABULARY)

    @property
    def value(self) -> int:
        """Where it stands on its axis."""
        return int(getattr(self, self.axis))


BASE = Point("samples")
AXES = {
    "samples": [replace(BASE, samples=n) for n in (2, 4, 8, 16)],
    "length": [replace(BASE, axis="length", samples=2, length=n) for n in (128, 256, 512, 1024, 2048)],
    "layers": [replace(BASE, axis="layers", layers=n) for n in (2, 4, 8, 16)],
    "width": [replace(BASE, axis="width", width=n) for n in (256, 512, 768, 1024)],
}


def make_model(folder: Path, shape: Shape, dtype: str) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.queries // HEAD,
        num_key_value_heads=shape.keys // HEAD, max_position_embeddings=4096, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)


def forked(work: Callable[[], Any]) -> dict[str, float]:
    """Run `work` in a child; its processor seconds, and by how much its memory grew at most beyond what it began with.

    `work` returns a function to be timed: what it does before is not.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            timed = work()
            before = resident()
            Path("/proc/self/clear_refs").write_text("5")  # the peak of resident memory starts anew
            start, wall = time.process_time(), time.perf_counter()
            timed()
            seconds = {"processor": time.process_time() - start, "wall": time.perf_counter() - wall}
            os.write(writer, json.dumps({**seconds, "bytes": float(resident("VmHWM") - before)}).encode())
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    os.close(writer)
    data = b""
    while part := os.read(reader, 4096):
        data += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("a measurement failed")
    return dict(json.loads(data))


def resident(field: str = "VmRSS") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def prune_work(point: Point, dtype: str, folder: Path) -> Callable[[], Callable[[], Any]]:
    from calibrant.settings.stage_settings import PruneSettings
    from calibrant.stages.pruning import prune

    ids = np.random.default_rng(0).integers(0, VOCABULARY, (point.samples, point.length), np.int32)
    pq.write_table(pa.table({"input_ids": ids.tolist()}), folder / "set.parquet")
    output = folder / "masks.safetensors"

    def work() -> Callable[[], Any]:
        output.unlink(missing_ok=True)
        settings = PruneSettings(method="wanda", sparsity="0.6", dtype=dtype, device="cpu", activations="memory")
        return lambda: prune(folder, folder / "set.parquet", output, settings, progress=False)

    return work


def score_work(point: Point, dtype: str, folder: Path) -> Callable[[], Callable[[], Any]]:
    from calibrant.models.checkpoint.loading import load_model
    from calibrant.scoring.sample_scores import score_sequences

    ids = np.random.default_rng(0).integers(0, VOCABULARY, (point.samples, point.length)).tolist()

    def work() -> Callable[[], Any]:
        return lambda: score_sequences(load_model(folder, dtype=dtype, device="cpu"), ids, [1] * len(ids))

    return work


def generate_work(point: Point, dtype: str, folder: Path) -> Callable[[], Callable[[], Any]]:
    from calibrant.generation.engines.engine_choice import make_engine
    from calibrant.generation.generated_rows import Prompt, Vocabulary
    from calibrant.models.checkpoint.checkpoint_config import load_config
    from calibrant.models.checkpoint.loading import load_model
    from calibrant.settings.text_settings import DecodingSettings

    rows, length = decoded(point)
    prompts = [Prompt(i, (5, 6, 7, 8), length, i, str(i), 4) for i in range(rows)]

    def work() -> Callable[[], Any]:
        def run() -> None:
            engine = make_engine("native", load_model(folder, dtype=dtype, device="cpu"), load_config(folder))
            list(engine.generate(prompts, DecodingSettings(), Vocabulary((), VOCABULARY), rows, lambda count: None))

        return run

    return work


def decoded(point: Point) -> tuple[int, int]:
    """Rows and length of what is generated at a point."""
    return point.samples * 2, max(32, point.length // 4)


WORK = {"prune": prune_work, "score": score_work, "generate": generate_work}


def quantities(stage: str, point: Point, dtype: str) -> dict[str, float]:
    """What the cost model counts of a measurement: FLOP by kind, bytes, weights, and one job."""
    shape, tokens, size = point.shape, point.samples * point.length, BYTES[dtype]
    per_flop = cost.Rates(1.0, float("inf"), 1.0, float("inf"), 1.0, 1.0, 0.0, 0.0, 0.0)
    if stage == "generate":
        rows, length = decoded(point)
        read = replace(per_flop, products=float("inf"), bandwidth=1.0)
        flop = cost.decode_seconds(shape, per_flop, rows, length, rows, size)
        return {"decoding": flop, "read": cost.decode_seconds(shape, read, rows, length, rows, size), "start": 1.0}
    head = stage == "score"
    times = cost.passes(shape) if stage == "prune" else 1.0
    counted = {
        "products": times * cost.forward_seconds(shape, per_flop, tokens, point.length, head=head),
        "attention": times * cost.attention_flops(shape, tokens, point.length),
        "start": 1.0,
    }
    return counted | ({"choose": float(shape.linear_weights)} if stage == "prune" else {})


def memory(stage: str, point: Point, dtype: str) -> float:
    """Bytes that the cost model reckons with."""
    shape, size = point.shape, BYTES[dtype]
    if stage == "generate":
        rows, length = decoded(point)
        return cost.decode_bytes(shape, rows, length, size)
    if stage == "score":
        tokens = min(point.samples * point.length, max(SCORING_TOKENS, point.length))
        return cost.whole_bytes(shape, tokens, size)
    hidden = cost.hidden_bytes(shape, point.samples, point.length, size)
    return cost.layer_bytes(shape, point.length, size) + hidden


def chosen(count: int) -> list[Point]:
    """At most so many points of each axis, its ends among them."""
    found = []
    for axis in AXES.values():
        places = np.linspace(0, len(axis) - 1, min(count, len(axis))).round().astype(int)
        found += [axis[place] for place in places]
    return found


def measure(dtypes: list[str], repeats: int, points: list[Point]) -> list[dict[str, Any]]:
    """All measurements, the same point again only after all others."""
    rows: dict[tuple[str, str, Point], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="calibrant-scaling-") as scratch:
        for _ in range(repeats):
            for dtype in dtypes:
                for point in points:
                    shape = point.shape
                    folder = Path(scratch) / f"{dtype}-{shape.layers}-{shape.width}"
                    if not folder.exists():
                        make_model(folder, shape, dtype)
                    for stage in STAGES:
                        found = forked(WORK[stage](point, dtype, folder))
                        print(f"{dtype} {stage} {point}: {found['processor']:.2f} s", file=sys.stderr)
                        old = rows.get((dtype, stage, point))
                        if old is None or found["processor"] < old["processor"]:
                            rows[dtype, stage, point] = found
    return [
        {"dtype": dtype, "stage": stage, "axis": point.axis, "point": point, **found}
        for (dtype, stage, point), found in rows.items()
    ]


def fitted(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Costs by number format: passes over text together, decoding for itself. Adds `fit` to each row."""
    found: dict[str, dict[str, float]] = {}
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        for stages in (("prune", "score"), ("generate",)):
            own = [row for row in rows if row["dtype"] == dtype and row["stage"] in stages]
            counted = [quantities(row["stage"], row["point"], dtype) for row in own]
            costs = fit(counted, [row["processor"] for row in own])
            for row, value in zip(own, predicted(counted, costs), strict=True):
                row["fit"] = value
            prefix = "decode: " if stages == ("generate",) else ""
            found.setdefault(dtype, {}).update({prefix + name: value for name, value in costs.items()})
    for row in rows:
        row["reckoned"] = memory(row["stage"], row["point"], row["dtype"])
    return found


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """A table of everything and a figure for each number format."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ["dtype", "stage", "axis", "layers", "width", "samples", "length", "processor_s", "fitted_s", "bytes",
             "reckoned_bytes"]  # fmt: skip
    with (folder / "scaling.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            point = asdict(row["point"])
            values = [f"{row['processor']:.4f}", f"{row['fit']:.4f}", f"{row['bytes']:.0f}", f"{row['reckoned']:.0f}"]
            shown = [row["dtype"], row["stage"], row["axis"], *(point[k] for k in names[3:7]), *values]
            writer.writerow(shown)
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        draw([row for row in rows if row["dtype"] == dtype], folder / f"scaling-{dtype}.svg")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Measured points, the model's lines: seconds above, memory below, a column for each axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    from calibrant.reporting.figures.style import PALETTE, STYLE

    with mpl.rc_context({**STYLE, "svg.hashsalt": "calibrant"}):
        figure = Figure(figsize=(11, 5), layout="constrained")
        grid = figure.subplots(2, len(AXES))
        for column, axis in enumerate(AXES):
            for place, (of, by, unit) in enumerate((("processor", "fit", 1.0), ("bytes", "reckoned", 1e-6))):
                axes = grid[place][column]
                for colour, stage in zip(PALETTE, STAGES, strict=False):
                    own = [row for row in rows if row["axis"] == axis and row["stage"] == stage]
                    own.sort(key=lambda row: row["point"].value)
                    x = [row["point"].value for row in own]
                    axes.plot(x, [row[by] * unit for row in own], color=colour, lw=1)
                    axes.plot(x, [row[of] * unit for row in own], "o", color=colour, ms=4, label=stage)
                axes.set_xscale("log", base=2)
                axes.set_yscale("log", base=2)
                axes.xaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_major_formatter("{x:.3g}")
                axes.minorticks_off()
                axes.set_xticks(sorted({row["point"].value for row in rows if row["axis"] == axis}))
                if place:
                    axes.set_xlabel(axis if axis != "samples" else "sequences")
        grid[0][0].set_ylabel("processor seconds")
        grid[1][0].set_ylabel("memory beyond the start, MB")
        grid[0][0].legend()
        figure.savefig(path, metadata={"Date": None})


def formats() -> list[str]:
    """Number formats that are computed well here."""
    own = choose_number_format("auto", torch.bfloat16, torch.device("cpu")).dtype
    return list(dict.fromkeys((dtype_name(own), "float32")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--dtypes", nargs="+", choices=list(BYTES), help="default: float32, and bfloat16 where auto would take it here"
    )
    parser.add_argument("--points", type=int, default=5, help="of each axis, at most (default 5, all of them)")
    parser.add_argument("--output", type=Path, help="folder for the table and the figures")
    options = parser.parse_args()
    dtypes = options.dtypes or formats()
    torch.set_num_threads(1)

    began = time.perf_counter()
    rows = measure(dtypes, options.repeats, chosen(options.points))
    costs = fitted(rows)
    print("; ".join(f"{key} {value}" for key, value in machine(" and ".join(dtypes)).items() if value is not None))
    print(f"{len(rows)} measurements in {time.perf_counter() - began:.0f} s")
    for dtype, found in costs.items():
        print(f"\n{dtype}: fitted rates, a second of processor time")
        for name, value in found.items():
            print(f"  {name:<20} {1 / value if value else float('inf'):.4g}" + ("  jobs" if "start" in name else ""))
        for stage in STAGES:
            own = [row for row in rows if row["dtype"] == dtype and row["stage"] == stage]
            errors = sorted(abs(row["fit"] / row["processor"] - 1) for row in own)
            spread = [row["bytes"] / row["reckoned"] for row in own]
            print(f"  {stage}: residuals, median {np.median(errors):.1%}, largest {errors[-1]:.1%};"
                  f" memory measured / reckoned {min(spread):.2f} to {max(spread):.2f}")  # fmt: skip
            for axis in AXES:
                line = [row for row in own if row["axis"] == axis]
                x = [row["point"].value for row in line]
                powers = [slope(x, [row[key] for row in line]) for key in ("processor", "fit")]
                residuals = " ".join(f"{row['point'].value}: {row['fit'] / row['processor'] - 1:+.0%}" for row in line)
                print(f"    {axis:<8} exponent {powers[0]:.2f} (fit {powers[1]:.2f})   {residuals}")
    if options.output:
        write(rows, options.output)


if __name__ == "__main__":
    main()
