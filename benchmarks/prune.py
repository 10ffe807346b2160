"""Pruning: Calibrant beside the published codes' loops, llm-compressor and the model's own forward pass.

    .venv/bin/python benchmarks/prune.py --output data/benchmarks

Checks in the same run that masks are the same: to the bit in float32; in bfloat16 the share of weights that differ
stands beside the share that another batch size makes differ in the published loop itself.
"""

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import published
import pyarrow as pa
import torch
from common import ROOT, Comparison, arguments, compare, parse, report
from torch import Tensor, nn

from calibrant.artefacts.parquet import write_table
from calibrant.models.attention import use_attention
from calibrant.models.load import load_model, load_tokenizer
from calibrant.pruning.api import prune
from calibrant.pruning.masks import read_masks

RATIO = 0.6
SHAPES = {"2048": (8, 2048), "512": (32, 512)}  # sequences, tokens
CASES = ("wanda-2048", "wanda-512", "sublayer-2048", "sublayer-512", "sparsegpt-512")
HELD_OUT = 4096  # tokens at the end of the text, on which perplexity is measured
PUBLISHED, OURS, OURS_SDPA = "published loop", "Calibrant", "Calibrant, PyTorch's attention"
Masks = Mapping[str, Tensor]


def main() -> None:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="what to run (default: everything)")
    parser.add_argument("--layers", type=int, help="only the model's first decoder layers (a quick look)")
    parser.add_argument("--sequences", type=int, help="fewer sequences (a quick look)")
    parser.add_argument("--llmcompressor", help="python with llm-compressor (make bench-llmcompressor)")
    parser.add_argument("--no-check", action="store_true", help="only time; compare no masks")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = first_layers(options.model, options.layers, folder / "model") if options.layers else options.model
        bench = Bench(model, folder, options)
        tables, facts = [], {}
        for case in options.cases:
            table, found = bench.run(*case.split("-"))
            tables.append(table)
            facts |= {f"{case}, {key}": value for key, value in found.items()}
        report("prune", tables, options.output, facts)


class Bench:
    """A model, text to calibrate on, and what can be timed on them."""

    def __init__(self, model: Path, folder: Path, options: argparse.Namespace) -> None:
        self.model, self.folder, self.options = model, folder, options
        self.text = text_ids(model)
        self.compressor = Compressor(options.llmcompressor) if options.llmcompressor else None

    def run(self, method: str, length: str) -> tuple[Comparison, dict[str, str]]:
        """One table, the published loop first; and what comparing the masks says."""
        sequences, tokens = SHAPES[length]
        sequences = self.options.sequences or sequences
        ids = self.text[: sequences * tokens].reshape(sequences, tokens)
        cases: dict[str, Callable[[], Any]] = {
            PUBLISHED: lambda: self.published(method, ids, "bfloat16"),
            OURS: lambda: self.ours(method, ids, "bfloat16"),
            OURS_SDPA: lambda: self.ours(method, ids, "bfloat16", "sdpa"),
        }
        notes = {}
        if method == "wanda":
            if self.compressor:
                compressor = self.compressor
                cases[compressor.name] = lambda: compressor.run(self.model, ids, self.folder)
            else:
                notes["llm-compressor"] = "left out; give --llmcompressor PYTHON (make bench-llmcompressor makes one)"
            dense = {name: load_model(self.model, dtype="bfloat16", device="cpu").model for name in ("sdpa", "auto")}
            for name, network in dense.items():
                use_attention(network, torch.device("cpu"), torch.bfloat16, name)
            cases["one dense forward, PyTorch's attention"] = lambda: forward(dense["sdpa"], ids)
            cases["one dense forward, block attention"] = lambda: forward(dense["auto"], ids)
            cases["matrix products of one forward"] = lambda: products(dense["sdpa"], ids)
        title = f"{method} {RATIO:.0%}, {sequences} x {tokens} tokens, bfloat16"
        table, results = compare(
            title, cases, repeats=self.options.repeats, warm_up=0, amount=ids.numel(), unit="tokens", notes=notes
        )
        return table, {} if self.options.no_check else self.check(method, ids, results)

    def check(self, method: str, ids: Tensor, results: Mapping[str, Masks]) -> dict[str, str]:
        """Shares of weights whose fate differs from the published loop's, and perplexities of the pruned models."""
        reference = results[PUBLISHED]
        other_batch = self.published(method, ids, "bfloat16", batch=2)
        exact, ours = self.published(method, ids, "float32"), self.ours(method, ids, "float32")
        shares = {"float32: Calibrant": differing(exact, ours)}
        if method != "sparsegpt":
            squares = published.prune(self.load("float32"), ids, RATIO, published.Squares, method == "sublayer")
            shares["float32: Calibrant from the published loop with sums of squares"] = differing(squares, ours)
        shares |= {
            "bfloat16: the published loop from itself in float32": differing(exact, reference),
            "bfloat16: Calibrant from the published loop in float32": differing(exact, results[OURS]),
            "bfloat16: Calibrant": differing(reference, results[OURS]),
            "bfloat16: Calibrant with PyTorch's attention": differing(reference, results[OURS_SDPA]),
            "bfloat16: the published loop itself with two sequences a batch": differing(reference, other_batch),
        }
        facts = {f"weights whose fate differs, {key}": f"{share:.3g}" for key, share in shares.items()}
        if method != "sparsegpt":  # which changes the weights kept too
            pruned = {PUBLISHED: reference, OURS: results[OURS], "published loop, two a batch": other_batch}
            for name, masks in pruned.items():
                facts[f"perplexity, {name}"] = f"{self.perplexity(masks):.4g}"
        return facts

    def load(self, dtype: str) -> Any:
        return load_model(self.model, dtype=dtype, device="cpu")

    def published(self, method: str, ids: Tensor, dtype: str, batch: int = 1) -> Masks:
        kind = published.Hessian if method == "sparsegpt" else published.Norms
        return published.prune(self.load(dtype), ids, RATIO, kind, method == "sublayer", batch)

    def ours(self, method: str, ids: Tensor, dtype: str, attention: str = "auto") -> Masks:
        name = "wanda" if method == "sublayer" else method
        options = {"sequential": "sublayer"} if method == "sublayer" else {}
        calibration, output = self.folder / "calibration.parquet", self.folder / "masks.safetensors"
        write_table(calibration, pa.table({"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}), {})
        where = {"dtype": dtype, "device": "cpu", "attention": attention}
        prune(self.model, calibration, name, str(RATIO), options, output=output, progress=False, **where)  # type: ignore[arg-type]
        return dict(read_masks(output).masks)

    def perplexity(self, masks: Masks) -> float:
        network = self.load("bfloat16")
        ids = self.text[-HELD_OUT:].reshape(-1, 512)
        with torch.no_grad():
            for name, mask in masks.items():
                network.get_submodule(name).weight.mul_(mask)  # type: ignore[operator, union-attr]
            losses = [network(input_ids=row[None], labels=row[None]).loss.item() for row in ids]
        return math.exp(sum(losses) / len(losses))


class Compressor:
    """llm-compressor in a process of its own environment, which imports it once."""

    def __init__(self, python: str) -> None:
        script = str(Path(__file__).with_name("llmcompressor_wanda.py"))
        self._process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = str(self._ask(None))  # its name and version, once it is ready

    def run(self, model: Path, ids: Tensor, folder: Path) -> None:
        """Prune once; the time of this call is the time of the pruning."""
        file = folder / "ids.json"
        file.write_text(json.dumps(ids.tolist()))
        threads = torch.get_num_threads()
        self._ask({"model": str(model.resolve()), "ids": str(file), "sparsity": RATIO, "threads": threads})

    def _ask(self, request: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        if request is not None:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("llm-compressor stopped; its message is above")
        return json.loads(answer)


def text_ids(model: Path) -> Tensor:
    """Token ids of this repository's documentation: real text that is always at hand."""
    files = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "LICENSE"]
    text = "\n\n".join(file.read_text() for file in files)
    ids: Tensor = load_tokenizer(model)(text, return_tensors="pt", verbose=False)["input_ids"][0]
    return ids


def first_layers(model: Path, count: int, folder: Path) -> Path:
    """A checkpoint of the model's first decoder layers, with its embeddings, norm and head."""
    network: Any = load_model(model, device="cpu")
    network.model.layers = network.model.layers[:count]
    network.config.num_hidden_layers = count
    network.save_pretrained(folder)
    load_tokenizer(model).save_pretrained(folder)
    return folder


def differing(one: Masks, other: Masks) -> float:
    """Share of weights that one mask keeps and the other does not."""
    assert one.keys() == other.keys()
    return sum(int((one[name] != other[name]).sum()) for name in one) / sum(mask.numel() for mask in one.values())


def forward(network: Any, ids: Tensor) -> None:
    """All decoder layers, one sequence at a time, without the head."""
    with torch.no_grad():
        for row in ids:
            network(row[None], use_cache=False)


def products(network: Any, ids: Tensor) -> None:
    """Nothing but the linear layers of `forward`."""
    with torch.no_grad():
        for linear in (module for module in network.layers.modules() if isinstance(module, nn.Linear)):
            x = torch.ones(ids.shape[1], linear.in_features, dtype=linear.weight.dtype)
            for _ in ids:
                nn.functional.linear(x, linear.weight)


if __name__ == "__main__":
    main()
