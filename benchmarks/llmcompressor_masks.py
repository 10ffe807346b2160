"""Masks of llm-compressor beside Calibrant's, on the same set: its snippet is run as a user would paste it.

    make bench-llmcompressor    # once
    .venv/bin/python benchmarks/llmcompressor_masks.py --llmcompressor .venv-llmcompressor/bin/python \
        --documents data/smollm2-135m/sources/web/documents.parquet

For every method, target and `sequential` a line: how many weights one of them keeps and the other does not, in all
and in the first decoder layer where any does. Calibrant computes in float32 with PyTorch's attention and products, as
llm-compressor does; `--usual` takes what `calibrant prune` takes by itself.
"""

import argparse
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from common import MODEL
from safetensors import safe_open
from torch import Tensor

import calibrant as cal

MODIFIERS = {"wanda": "WandaPruningModifier", "sparsegpt": "SparseGPTModifier"}


def snippet(model: str, method: str, target: str, sequential: str, samples: int, length: int) -> str:
    """What prunes by llm-compressor on `set.parquet`, and writes `pruned`."""
    kept, colon, group = target.partition(":")  # we say N kept of every M, llm-compressor N removed
    share = f"{1 - int(kept) / int(group):g}" if colon else target
    structure = f"{int(group) - int(kept)}:{group}" if colon else "0:0"
    return f"""\
import torch
from datasets import load_dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning import {MODIFIERS[method]}
from transformers import AutoModelForCausalLM, AutoTokenizer

rows = load_dataset("parquet", data_files="set.parquet", split="train").select_columns(["input_ids"])
model = AutoModelForCausalLM.from_pretrained({model!r}, dtype=torch.float32)
recipe = {MODIFIERS[method]}(
    sparsity={share}, mask_structure="{structure}", targets=["Linear"], ignore=["re:.*lm_head"]
)
oneshot(
    model=model, dataset=rows, recipe=recipe, max_seq_length={length}, num_calibration_samples={samples},
    shuffle_calibration_samples=False, propagate_error={sequential != "dense"},
)
model.save_pretrained("pruned")
AutoTokenizer.from_pretrained({model!r}).save_pretrained("pruned")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--llmcompressor", required=True, help="python with llm-compressor (make bench-llmcompressor)")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--documents", type=Path, required=True, help="text to draw the set from")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--length", type=int, default=160)
    parser.add_argument("--methods", nargs="+", choices=list(MODIFIERS), default=["wanda"])
    parser.add_argument("--targets", nargs="+", default=["0.6", "2:4"])
    parser.add_argument("--sequential", nargs="+", choices=["layer", "dense"], default=["layer", "dense"])
    parser.add_argument("--usual", action="store_true", help="Calibrant's own attention and products")
    options = parser.parse_args()
    model = options.model.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drawn = cal.SampleSettings(samples=options.samples, length=options.length)
        cal.sample(options.documents, model, folder / "set.parquet", drawn)
        for method in options.methods:
            for target in options.targets:
                for sequential in options.sequential:
                    text = snippet(str(model), method, target, sequential, options.samples, options.length)
                    theirs = run_snippet(options.llmcompressor, text, folder)
                    ours = masks(model, method, target, sequential, folder, options.usual)
                    print(f"{method} {target}, sequential={sequential}: {said(ours, theirs)}", flush=True)


def run_snippet(python: str, text: str, folder: Path) -> Mapping[str, Tensor]:
    """The weights of the linears that it leaves in `pruned`."""
    (folder / "snippet.py").write_text(text)
    done = subprocess.run(
        [Path(python).absolute(), "snippet.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the snippet failed:\n{done.stderr[-2000:]}")
    return weights(folder / "pruned")


def weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    return found


def masks(model: Path, method: str, target: str, sequential: str, folder: Path, usual: bool) -> dict[str, Tensor]:
    """What Calibrant leaves of the linears: not zero, which a kept weight can be too, in every checkpoint alike."""
    kernels = {} if usual else {"attention": "sdpa", "products": "plain"}
    settings = cal.PruneSettings(
        method=method, sparsity=target, option={"sequential": sequential}, dtype="float32", device="cpu", **kernels
    )
    output = folder / "masks.safetensors"
    cal.prune(model, folder / "set.parquet", output, settings, progress=False)
    file, dense = cal.read_masks(output), weights(model)
    updated = {name: file.weight(name) for name in file.masks}
    values = {name: dense[f"{name}.weight"] if new is None else new for name, new in updated.items()}
    return {name: mask & (values[name] != 0) for name, mask in file.masks.items()}


def said(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """How many differ, and from which decoder layer on."""
    differing = {name: int((mask != (theirs[f"{name}.weight"] != 0)).sum()) for name, mask in ours.items()}
    layers: Counter[int] = Counter()
    for name, count in differing.items():
        layers[next(int(part) for part in name.split(".") if part.isdigit())] += count
    total, whole = sum(differing.values()), sum(mask.numel() for mask in ours.values())
    first = next((layer for layer in sorted(layers) if layers[layer]), None)
    where = "" if first is None else f"; the first {layers[first]:,} in decoder layer {first} of {len(layers)}"
    pruned = 1 - sum(int(mask.sum()) for mask in ours.values()) / whole
    return f"{total:,} of {whole:,} weights differ ({total / whole:.2g}){where}; {pruned:.2%} are zero"


if __name__ == "__main__":
    main()
