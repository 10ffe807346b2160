"""Quantization: Calibrant's GPTQ beside llm-compressor's, and beside the forward passes that both need.

    .venv/bin/python benchmarks/quantize.py --llmcompressor .venv-llmcompressor/bin/python --output data/benchmarks

Both quantize every linear layer of the decoder layers to 4 bits in groups of 64 columns, asymmetric, without act-order,
layer by layer on the same token ids. Perplexities of the results stand beside the times, on tokens that neither saw.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Comparison, arguments, compare, parse, report
from llmcompressor_process import Compressor
from prune import HELD_OUT, WARM_UP, forward, perplexity, text_ids, write_set
from torch import Tensor

from calibrant.models.checkpoint.loading import load_model
from calibrant.pruning.masks.masked_model import load_pruned_model
from calibrant.settings.stage_settings import PruneSettings
from calibrant.stages.pruning import prune

PUBLISHED, FASTER = "Calibrant, the published order", "Calibrant, gptq.published=false"


def main() -> None:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--llmcompressor", help="python with llm-compressor (make bench-llmcompressor)")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as scratch:
        table, facts = run(options, Path(scratch))
    report("quantize", [table], options.output, facts, options.dtype)


def run(options: Any, folder: Path) -> tuple[Comparison, dict[str, str]]:
    """The table, and the perplexities of what was made."""
    text = text_ids(options.model)
    ids = text[: options.sequences * options.tokens].reshape(options.sequences, options.tokens)

    def ours(ids: Tensor, published: bool) -> Path:
        output = folder / f"codes-{published}.safetensors"
        settings = PruneSettings(
            method="gptq",
            bits=options.bits,
            group=options.group,
            option={"gptq.published": str(published).lower()},
            dtype=options.dtype,
        )
        prune(options.model, write_set(folder, ids), output, settings, progress=False)
        return output

    network: Any = load_model(options.model, dtype=options.dtype, device="cpu")
    cases: dict[str, Callable[[], Any]] = {}
    notes = {}
    if options.llmcompressor:
        compressor = Compressor(options.llmcompressor)
        asked = {"bits": options.bits, "group": options.group}
        compressor.run(options.model, text[None, :WARM_UP], folder, options.dtype, **asked)
        cases[compressor.name] = lambda: compressor.run(options.model, ids, folder, options.dtype, **asked)
    else:
        notes["llm-compressor"] = "left out; give --llmcompressor PYTHON (make bench-llmcompressor makes one)"
    ours(text[None, :WARM_UP], published=True)
    cases[PUBLISHED] = lambda: ours(ids, published=True)
    cases[FASTER] = lambda: ours(ids, published=False)
    cases["one dense forward"] = lambda: forward(network, ids)
    amount = f"{options.sequences} x {options.tokens} tokens"
    title = f"GPTQ, {options.bits} bits, group {options.group}, {amount}, {options.dtype}"
    table, results = compare(
        title, cases, repeats=options.repeats, warm_up=0, amount=ids.numel(), unit="tokens", notes=notes
    )
    held_out = text[-HELD_OUT:].reshape(-1, options.tokens)
    facts = {"perplexity, dense": f"{perplexity(network, held_out):.4f}"}
    for name in (PUBLISHED, FASTER):
        made: Any = load_pruned_model(options.model, results[name], dtype=options.dtype, device="cpu")
        facts[f"perplexity, {name}"] = f"{perplexity(made, held_out):.4f}"
    return table, facts


if __name__ == "__main__":
    main()
