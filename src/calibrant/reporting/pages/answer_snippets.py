"""Commands and code that use the set of an answer, ready to be copied."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

OWN = {"wanda": "WandaPruningModifier", "sparsegpt": "SparseGPTModifier"}  # its OWL profile stops with an error


def snippets(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each is for, and its text; all are run in the answer's folder, where `set.parquet` lies.

    Args:
        facts: of a race that ended.
    """
    return [
        ("Calibrant", command(facts)),
        ("llm-compressor", llm_compressor(facts)),
        ("transformers, datasets", datasets_rows(facts)),
    ]


def command(facts: Mapping[str, Any]) -> str:
    """A pruned checkpoint of the masks that lie there, and the masks made anew, by this library."""
    options = facts["chosen"]["options"] if facts["chosen"] else {}
    model = shlex.quote(model_place(facts))
    lines = [
        f"calibrant prune --model {model} --calibration set.parquet",
        f"    --method {shlex.quote(facts['method'])} --sparsity {shlex.quote(facts['target'])}",
        *(f"    --option {shlex.quote(f'{key}={value}')}" for key, value in sorted(options.items())),
        f"    --dtype {shlex.quote(facts['dtype'])} --output again.safetensors",
    ]
    applied = f"calibrant apply --model {model} --masks masks.safetensors --output pruned"
    return f"# the model that these masks leave\n{applied}\n\n# the masks once more, or others\n" + " \\\n".join(lines)


def model_place(facts: Mapping[str, Any]) -> str:
    """Where the dense model is, seen from the answer's folder; its name where that is not known."""
    return str(facts.get("model_place") or facts["model"])


def llm_compressor(facts: Mapping[str, Any]) -> str:
    """One-shot pruning by llm-compressor on the tokens of the set, as `benchmarks/llmcompressor_masks.py` runs it."""
    modifier = OWN.get(facts["method"], OWN["wanda"])
    options = facts["chosen"]["options"] if facts["chosen"] else {}
    note = (
        ""
        if facts["method"] in OWN
        else f"# llm-compressor has no {facts['method']} that works; this is Wanda on the same text.\n"
    )
    kept, colon, of = facts["target"].partition(":")
    share = f"{1 - int(kept) / int(of):g}" if colon else facts["target"]
    structure = f"{int(of) - int(kept)}:{of}" if colon else "0:0"  # removed of each group
    model = json.dumps(model_place(facts))
    return f"""\
import torch
from datasets import load_dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning import {modifier}
from transformers import AutoModelForCausalLM, AutoTokenizer

rows = load_dataset("parquet", data_files="set.parquet", split="train").select_columns(["input_ids"])
model = AutoModelForCausalLM.from_pretrained({model}, dtype=torch.{facts["dtype"] or "float32"})
{note}recipe = {modifier}(
    sparsity={share}, mask_structure="{structure}", targets=["Linear"], ignore=["re:.*lm_head"]
)
oneshot(
    model=model, dataset=rows, recipe=recipe,
    max_seq_length={facts["length"]}, num_calibration_samples={facts["samples"]},
    shuffle_calibration_samples=False, propagate_error={options.get("sequential") != "dense"},
)
model.save_pretrained("pruned")
AutoTokenizer.from_pretrained({model}).save_pretrained("pruned")"""


def datasets_rows(facts: Mapping[str, Any]) -> str:
    """The set as a Hugging Face dataset, its tokens as a tensor, its text as JSON lines."""
    return f"""\
import torch
from datasets import load_dataset, load_from_disk

rows = load_from_disk("dataset")
tokens = torch.tensor(rows["input_ids"][:])  # {facts["samples"]} x {facts["length"]:,}: model(input_ids=tokens[:1])

# or, for tools that take text:
texts = load_dataset("json", data_files="set.jsonl", split="train")["text"]"""
