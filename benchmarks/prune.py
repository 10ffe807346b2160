"""Pruning: Calibrant beside the published codes' loops, llm-compressor and the model's own forward pass.

    .venv/bin/python benchmarks/prune.py --output data/benchmarks

Checks in the same run how far masks are the same: in float32 with PyTorch's attention and products to the bit; else the
share of weights that differ stands beside the share that another batch size makes differ in the published loop itself.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import published
import pyarrow as pa
import torch
from common import CPU, ROOT, Comparison, arguments, compare, parse, report
from llmcompressor_process import Compressor
from torch import Tensor, nn

from calibrant.artefacts.parquet import write_table
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.compute.devices import BLOCK_ATTENTION, choose_attention, choose_products
from calibrant.models.compute.number_formats import DTYPES
from calibrant.models.decoders.attention_interface import use_attention
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.settings.stage_settings import PruneSettings
from calibrant.stages.pruning import prune

RATIO = 0.6
SHAPES = {"2048": (8, 2048), "512": (32, 512)}  # sequences, tokens
CASES = ("wanda-2048", "wanda-512", "sublayer-2048", "sublayer-512", "sparsegpt-512")
WARM_UP = 64  # tokens of a first run that is not counted
HELD_OUT = 4096  # tokens at the end of the text, on which perplexity is measured
PUBLISHED, OURS, OURS_PLAIN = "published loop", "Calibrant", "Calibrant, PyTorch's attention and products"
# Masks that are compared and not timed.
TWO, SQUARES = "published loop, two sequences a batch", "published loop with sums of squares"
EXACT, OURS_EXACT = "published loop in float32", "Calibrant in float32, the same"
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
        model = first_layers(options, folder / "model") if options.layers else options.model
        bench = Bench(model, folder, options)
        tables, facts = [], {}
        for case in options.cases:
            table, found = bench.run(*case.split("-"))
            tables.append(table)
            facts |= {f"{case}, {key}": value for key, value in found.items()}
        report("prune", tables, options.output, facts, options.dtype)


class Bench:
    """A model, text to calibrate on, and what can be timed on them."""

    def __init__(self, model: Path, folder: Path, options: argparse.Namespace) -> None:
        self.model, self.folder, self.options = model, folder, options
        self.dtype: str = options.dtype
        self.block = choose_attention(CPU, DTYPES[self.dtype]) == BLOCK_ATTENTION
        self.own = self.block or choose_products(CPU, DTYPES[self.dtype]) != "plain"
        self.text = text_ids(model)
        self.compressor = Compressor(options.llmcompressor) if options.llmcompressor else None
        few = self.text[None, :WARM_UP]  # what a first call costs, such as imports, is no part of a time
        self.ours("wanda", few, self.dtype)
        if self.compressor:
            self.compressor.run(model, few, folder, self.dtype, sparsity=RATIO)

    def run(self, method: str, length: str) -> tuple[Comparison, dict[str, str]]:
        """One table, the published loop first; and what comparing the masks says."""
        sequences, tokens = SHAPES[length]
        sequences = self.options.sequences or sequences
        ids = self.text[: sequences * tokens].reshape(sequences, tokens)
        cases: dict[str, Callable[[], Any]] = {
            PUBLISHED: lambda: self.published(method, ids, self.dtype),
            OURS: lambda: self.ours(method, ids, self.dtype),
        }
        if self.has_plain(method):
            cases[OURS_PLAIN] = lambda: self.ours(method, ids, self.dtype, plain=True)
        notes = {}
        if method == "wanda":
            if self.compressor:
                compressor = self.compressor
                cases[compressor.name] = lambda: compressor.run(
                    self.model, ids, self.folder, self.dtype, sparsity=RATIO
                )
            else:
                notes["llm-compressor"] = "left out; give --llmcompressor PYTHON (make bench-llmcompressor makes one)"
            dense = {"PyTorch's attention": self.network("sdpa")}
            if self.block:
                dense["block attention"] = self.network("auto")
            for attention, network in dense.items():
                cases[f"one dense forward, {attention}"] = lambda network=network: forward(network, ids)
            cases["matrix products of one forward"] = lambda: products(dense["PyTorch's attention"], ids)
        title = f"{method} {RATIO:.0%}, {sequences} x {tokens} tokens, {self.dtype}"
        table, results = compare(
            title, cases, repeats=self.options.repeats, warm_up=0, amount=ids.numel(), unit="tokens", notes=notes
        )
        return table, {} if self.options.no_check else self.check(method, ids, results)

    def check(self, method: str, ids: Tensor, results: Mapping[str, Masks]) -> dict[str, str]:
        """Shares of weights whose fate differs from the published loop's, and perplexities of the pruned models."""
        make: dict[str, Callable[[], Masks]] = {
            TWO: lambda: self.published(method, ids, self.dtype, batch=2),
            EXACT: lambda: self.published(method, ids, "float32"),
            OURS_EXACT: lambda: self.ours(method, ids, "float32", plain=True),
            SQUARES: lambda: published.prune(self.load("float32"), ids, RATIO, published.Squares, method == "sublayer"),
        }
        wanted = mask_checks(method, self.dtype, self.has_plain(method))
        found = dict(results)
        for name in dict.fromkeys(name for pair in wanted.values() for name in pair):
            if name not in found:
                found[name] = make[name]()
        shares = {label: differing(found[one], found[other]) for label, (one, other) in wanted.items()}
        facts = {f"weights whose fate differs, {key}": f"{share:.3g}" for key, share in shares.items()}
        if method != "sparsegpt":  # which changes the weights kept too
            for name in (PUBLISHED, OURS, TWO):
                facts[f"perplexity, {name}"] = f"{self.perplexity(found[name]):.4g}"
        return facts

    def has_plain(self, method: str) -> bool:
        """Whether Calibrant takes attention or products of its own, so that PyTorch's are another case.

        SparseGPT in float32 takes PyTorch's.
        """
        return self.own and not (method == "sparsegpt" and self.dtype == "float32")

    def load(self, dtype: str) -> Any:
        return load_model(self.model, dtype=dtype, device="cpu")

    def network(self, attention: str) -> Any:
        """The model's decoder, with PyTorch's attention (`sdpa`) or what pruning takes by itself (`auto`)."""
        network = self.load(self.dtype).model
        use_attention(network, CPU, DTYPES[self.dtype], attention)
        return network

    def published(self, method: str, ids: Tensor, dtype: str, batch: int = 1) -> Masks:
        kind = published.Hessian if method == "sparsegpt" else published.Norms
        return published.prune(self.load(dtype), ids, RATIO, kind, method == "sublayer", batch)

    def ours(self, method: str, ids: Tensor, dtype: str, plain: bool = False) -> Masks:
        name = "wanda" if method == "sublayer" else method
        options = {"sequential": "sublayer"} if method == "sublayer" else {}
        calibration, output = write_set(self.folder, ids), self.folder / "masks.safetensors"
        kernels = {"attention": "sdpa", "products": "plain"} if plain else {}
        settings = PruneSettings(method=name, sparsity=str(RATIO), option=options, dtype=dtype, device="cpu", **kernels)
        prune(self.model, calibration, output, settings, progress=False)
        return dict(read_masks(output).masks)

    def perplexity(self, masks: Masks) -> float:
        network = self.load(self.dtype)
        with torch.no_grad():
            for name, mask in masks.items():
                network.get_submodule(name).weight.mul_(mask)  # type: ignore[operator, union-attr]
        return perplexity(network, self.text[-HELD_OUT:].reshape(-1, 512))


def perplexity(network: Any, ids: Tensor) -> float:
    """Of a loaded model, over the rows of token ids [rows, tokens]."""
    with torch.no_grad():
        losses = [network(input_ids=row[None], labels=row[None]).loss.item() for row in ids]
    return math.exp(sum(losses) / len(losses))


def write_set(folder: Path, ids: Tensor) -> Path:
    """Token ids [sequences, tokens] as a calibration set."""
    calibration = folder / "calibration.parquet"
    write_table(calibration, pa.table({"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}), {})
    return calibration


def text_ids(model: Path) -> Tensor:
    """Token ids of this repository's documentation: real text that is always at hand."""
    files = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "LICENSE"]
    text = "\n\n".join(file.read_text() for file in files)
    ids: Tensor = load_tokenizer(model)(text, return_tensors="pt", verbose=False)["input_ids"][0]
    return ids


def first_layers(options: argparse.Namespace, folder: Path) -> Path:
    """A checkpoint of the model's first decoder layers, with its embeddings, norm and head."""
    network: Any = load_model(options.model, dtype=options.dtype, device="cpu")
    network.model.layers = network.model.layers[: options.layers]
    network.config.num_hidden_layers = options.layers
    network.save_pretrained(folder)
    load_tokenizer(options.model).save_pretrained(folder)
    return folder


def mask_checks(method: str, dtype: str, own: bool) -> dict[str, tuple[str, str]]:
    """Which masks are compared: a label, and the names of two of them.

    Args:
        method: the published one, or `sublayer`.
        dtype: the number format that was timed. What compares it with float32 is left out where it is float32.
        own: whether Calibrant takes attention or products of its own in it, beside PyTorch's.
    """
    checks = {f"{dtype}: Calibrant": (PUBLISHED, OURS)}
    if own:
        checks[f"{dtype}: Calibrant with PyTorch's attention and products"] = (PUBLISHED, OURS_PLAIN)
    checks[f"{dtype}: the published loop itself with two sequences a batch"] = (PUBLISHED, TWO)
    exact = OURS_EXACT
    if dtype == "float32":
        exact = OURS_PLAIN if own else OURS
    else:
        checks["float32: Calibrant with PyTorch's attention and products"] = (EXACT, exact)
        checks[f"{dtype}: the published loop from itself in float32"] = (EXACT, PUBLISHED)
        checks[f"{dtype}: Calibrant from the published loop in float32"] = (EXACT, OURS)
    if method != "sparsegpt":
        label = "float32: Calibrant with PyTorch's attention and products from the published loop with sums of squares"
        checks[label] = (SQUARES, exact)
    return checks


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
