"""Where the seconds of one round's pair of jobs go: `prune` by one set, `evaluate` of it beside the dense model.

Each job runs in a child of its own that was forked with the libraries loaded, as the study's warm server does, with one
thread, and once more from a process that keeps the model (`--kept no` leaves that out, as with an older version of
Calibrant on PYTHONPATH). Seconds are the processor's, of the child alone; a part's are without those of the parts
inside it. Imports, which a job without the server pays, are measured in processes of their own.
"""

import argparse
import contextlib
import functools
import importlib
import inspect
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common import HOW_TO_GET_IT, MODEL, ROOT, machine

from calibrant.cli.main import main as calibrant
from calibrant.cli.warm import HEAVY
from calibrant.models.checkpoint.resolution import resolve_dtype
from calibrant.models.compute.number_formats import dtype_name

with contextlib.suppress(ImportError):  # an older version has none of this; --kept no does without
    from calibrant.stages.kept_model import keep_model, what_to_keep

TEXT = ROOT / "data/smollm2-135m/texts/fiction/documents.parquet"
DOCUMENTS = 25
LEAST = 0.005  # seconds of a part that is shown
REST = "all else: command line, checks, imports of the stage"
# Functions, and the part that they are; what they call counts as theirs unless it is a part, too.
PARTS = {
    "prune": {
        "opening the model: configuration, headers, blueprint": (
            "calibrant.models.checkpoint.checkpoint:open_checkpoint",
            "calibrant.models.checkpoint.blueprint:draw_blueprint",
        ),
        "building the empty model": ("calibrant.models.checkpoint.streaming:StreamedModel.__init__",),
        "hash of the weights": ("calibrant.models.checkpoint.weight_bytes:hash_and_peaks",),
        "calibration set": ("calibrant.pruning.run.run_inputs:read_inputs",),
        "reading and converting weights, letting them go": (
            "calibrant.models.checkpoint.streaming:StreamedModel.load",
            "calibrant.models.checkpoint.streaming:StreamedModel.release",
        ),
        "laying out weights": ("torch.ops.mkldnn:_reorder_linear_weight",),
        "matrix products": ("torch.ops.mkldnn:_linear_pointwise", "torch.nn.functional:linear"),
        "forward passes without their products": (
            "calibrant.pruning.run.layer_pruning:calibrate",
            "calibrant.pruning.run.statistics_collection:collect",
            "calibrant.pruning.run.statistics_collection:propagate",
        ),
        "choosing and zeroing weights": (
            "calibrant.pruning.run.layer_pruning:decide",
            "calibrant.pruning.run.layer_pruning:apply_decisions",
        ),
        "writing masks": (
            "calibrant.pruning.run.finished_layers:write_decisions",
            "calibrant.pruning.run.finished_layers:summarize_layer",
            "calibrant.pruning.run.finished_layers:join_layers",
        ),
    },
    "evaluate": {
        "opening the model: configuration, headers, blueprint": (
            "calibrant.models.checkpoint.checkpoint:open_checkpoint",
            "calibrant.models.checkpoint.blueprint:draw_blueprint",
        ),
        "hash of the weights": ("calibrant.models.checkpoint.weight_bytes:hash_and_peaks",),
        "tokenizer": (
            "calibrant.models.checkpoint.loading:load_tokenizer",
            "calibrant.models.checkpoint.checkpoint_files:tokenizer_sha256",
        ),
        "text": ("calibrant.evaluation.variants:_read", "calibrant.evaluation.evaluated_text:owned_windows"),
        "reading and converting weights": ("calibrant.models.checkpoint.loading:load_model",),
        "laying out weights and the probe": ("calibrant.models.decoders.decoder_choice:fast_decoder",),
        "dense outputs": ("calibrant.evaluation.dense_comparison:DenseComparison.read",),
        "masks: read, checked, put in": (
            "calibrant.pruning.masks.mask_file:read_masks",
            "calibrant.pruning.masks.mask_file:MaskFile.check",
            "calibrant.pruning.masks.masked_model:find_weights",
            "calibrant.pruning.masks.masked_model:apply_to_weights",
        ),
        "matrix products of the layers": ("calibrant.models.decoders.laid_out_linear:LaidOutLinear.__call__",),
        "forward passes without their products": (
            "calibrant.evaluation.likelihood.packed_forward:PackedForward.hidden",
        ),
        "logits, half of them the dense model's": (
            "calibrant.evaluation.likelihood.packed_forward:PackedForward.of_hidden",
        ),
        "losses, divergence, agreement": (
            "calibrant.evaluation.likelihood.token_measures:own_side",
            "calibrant.evaluation.likelihood.token_measures:divergence",
            "calibrant.evaluation.text_measures:text_measures",
        ),
        "writing results": (
            "calibrant.evaluation.measure_table:write_measures",
            "calibrant.artefacts.provenance:write_described",
        ),
    },
}
INSIDE = {"logits, half of them the dense model's"}  # parts that no other part is taken out of


class Stopwatch:
    """Processor seconds of parts; of nested parts the inner one's count."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = [REST]
        self._since = time.process_time()

    def switch(self) -> None:
        """Book the time since the last switch to what we are in."""
        now = time.process_time()
        self.seconds[self._inside[-1]] = self.seconds.get(self._inside[-1], 0.0) + now - self._since
        self._since = now

    def timed(self, part: str, call: Callable[[], Any]) -> Any:
        """Call something as a part."""
        if self._inside[-1] in INSIDE:
            return call()
        self.switch()
        self._inside.append(part)
        try:
            return call()
        finally:
            self.switch()
            self._inside.pop()

    def watch(self, where: str, part: str) -> None:
        """Let a function count as a part wherever Calibrant has it; `where` is MODULE:NAME or MODULE:CLASS.NAME."""
        name, _, path = where.partition(":")
        owner: Any = _owner(name)
        *classes, leaf = path.split(".")
        for each in classes:
            owner = getattr(owner, each)
        function = getattr(owner, leaf)

        @functools.wraps(function)
        def watched(*given: Any, **named: Any) -> Any:
            found = self.timed(part, lambda: function(*given, **named))
            return self._each(part, found) if inspect.isgenerator(found) else found

        setattr(owner, leaf, watched)
        for module in [] if classes else [*sys.modules.values()]:  # whoever imported it by name
            if getattr(module, "__name__", "").startswith("calibrant.") and vars(module).get(leaf) is function:
                setattr(module, leaf, watched)

    def _each(self, part: str, found: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (value := self.timed(part, lambda: next(found, end))) is not end:
            yield value


def _owner(name: str) -> Any:
    if name.startswith("torch.ops."):
        import torch

        return functools.reduce(getattr, name.split(".")[2:], torch.ops)
    return importlib.import_module(name)


def forked(call: Callable[[], Any]) -> Any:
    """What a call returns in a child of this process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(write, json.dumps(call()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with open(read) as pipe:
        said = pipe.read()
    if os.waitpid(child, 0)[1]:
        sys.exit("a job failed")
    return json.loads(said)


def job(stage: str, words: Sequence[str]) -> dict[str, float]:
    """Run a stage; the seconds of its parts."""
    watch = Stopwatch()
    for part, functions in PARTS[stage].items():
        for function in functions:
            watch.watch(function, part)
    watch.switch()
    watch.seconds.clear()  # patching is no part of a job
    if calibrant([stage, *words]):
        raise RuntimeError(f"calibrant {stage} failed")
    watch.switch()
    return watch.seconds


class Keeper:
    """A process that keeps the model, and forks a job whenever it is asked to."""

    def __init__(self, stage: str, words: Sequence[str]) -> None:
        """The first job of it, which makes what the others share, is not counted."""
        there, self._asks = os.pipe()
        self._answers, back = os.pipe()
        self._process = os.fork()
        if not self._process:
            try:
                wanted = what_to_keep([stage, *words], Path.cwd())
                if wanted is None or not keep_model(wanted):
                    raise RuntimeError("the model is not kept; it is too large for this machine, or cannot be used")
                while os.read(there, 1):
                    os.write(back, json.dumps(forked(lambda: job(stage, words))).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(there)
        os.close(back)
        self.job()

    def end(self) -> None:
        """Let it go."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def job(self) -> dict[str, float]:
        """The seconds of the parts of one."""
        os.write(self._asks, b".")
        found: dict[str, float] = json.loads(os.read(self._answers, 1 << 16) or sys.exit("a job failed"))
        return found


def imports() -> float:
    """Processor seconds of a process that loads what the warm server has loaded."""
    code = f"import importlib; [importlib.import_module(name) for name in {HEAVY!r}]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sizes(folder: Path, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The words of the two jobs, after what they start from was made: the set, and the dense model's outputs."""
    made, model = str(folder / "set.parquet"), ["--model", str(options.model)]
    size = ["--samples", str(options.samples), "--length", str(options.length)]
    judged = ["--text", f"judging={options.text}", "--text-average", "apart", "--threads", "1"]
    judged += ["--text-tokens", str(options.tokens), "--document-tokens", str(-(-options.tokens // DOCUMENTS))]
    dense, masks = str(folder / "dense.safetensors"), str(folder / "masks.safetensors")
    for words in (
        ["sample", "--documents", str(options.text), *model, "--seed", "0", *size, "--output", made],
        ["evaluate", *model, *judged, "--outputs", dense, "--output", str(folder / "dense.json")],
    ):
        subprocess.run([sys.executable, "-m", "calibrant", *words], check=True)
    pruning = [*model, "--calibration", made, "--method", "wanda", "--sparsity", "0.6", "--threads", "1"]
    evaluation = [*model, "--masks", masks, *judged, "--dense", dense, "--output", str(folder / "results.json")]
    return [*pruning, "--output", masks], evaluation


def table(columns: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Markdown: a row for every part of both jobs, medians over the rounds of each column."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    whole = dict.fromkeys(columns, 0.0)
    for stage, parts in PARTS.items():
        for part in (*parts, REST):
            found = [statistics.median(run.get(part, 0.0) for run in jobs[stage]) for jobs in columns.values()]
            if max(found) >= LEAST:
                lines.append(f"| {stage}: {part} | " + " | ".join(f"{each:.2f}" for each in found) + " |")
        sums = {name: statistics.median(sum(run.values()) for run in jobs[stage]) for name, jobs in columns.items()}
        whole = {name: whole[name] + each for name, each in sums.items()}
        lines.append(f"| **{stage}** | " + " | ".join(f"**{each:.2f}**" for each in sums.values()) + " |")
    lines.append("| **the pair** | " + " | ".join(f"**{each:.2f}**" for each in whole.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="model folder (default: the embedded SmolLM2-135M)")
    parser.add_argument("--text", type=Path, default=TEXT, help="what judges and calibrates (default: the tales)")
    parser.add_argument("--samples", type=int, default=8, help="of the set (default 8)")
    parser.add_argument("--length", type=int, default=160, help="of a sample in tokens (default 160)")
    parser.add_argument("--tokens", type=int, default=1500, help=f"that judge, of {DOCUMENTS} documents (default 1500)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds that count; medians are shown (default 3)")
    parser.add_argument("--kept", choices=("yes", "no"), default="yes", help="whether jobs with a kept model are run")
    options = parser.parse_args()
    for path in (options.model / "config.json", options.text):
        if not path.exists():
            parser.error(f"{path} is not there; the default model and text are made by: {HOW_TO_GET_IT}")
    options.model, options.text = options.model.resolve(), options.text.resolve()
    loading = [imports() for _ in range(options.repeats)]
    for name in HEAVY:
        importlib.import_module(name)
    columns: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        keepers: dict[str, Keeper] = {}
        words = dict(zip(PARTS, sizes(Path(folder), options), strict=True))
        cases = {
            "warm server": {
                stage: functools.partial(forked, functools.partial(job, stage, words[stage])) for stage in PARTS
            }
        }
        if options.kept == "yes":
            cases["warm server"]["prune"]()  # the masks that are evaluated
            keepers = {stage: Keeper(stage, words[stage]) for stage in PARTS}
            cases["warm server, model kept"] = {stage: keeper.job for stage, keeper in keepers.items()}
        for _ in range(options.repeats):
            for name, jobs in cases.items():
                for stage, run in jobs.items():
                    columns.setdefault(name, {}).setdefault(stage, []).append(run())
        for keeper in keepers.values():
            keeper.end()
    where = machine(dtype_name(resolve_dtype(options.model, "auto", "cpu").dtype))
    print("; ".join(f"{key} {value}" for key, value in where.items() if value is not None))
    print(
        f"\nProcessor seconds of one thread, medians of {options.repeats} rounds. {options.samples} x {options.length}"
    )
    print(f"tokens calibrate, {options.tokens} judge. A job without the server has imports of")
    print(f"{statistics.median(loading):.2f} s before it.\n")
    print(table(columns))


if __name__ == "__main__":
    main()
