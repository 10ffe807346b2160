"""Commands and code that use the set of an answer, ready to be copied."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

OWN = {"wanda": "WandaPruningModifier", "sparsegpt": "SparseGPTModifier", "owl": "WandaPruningModifier"}


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
    """One-shot pruning by llm-compressor on the tokens of the set."""
    modifier = OWN.get(facts["method"], "WandaPruningModifier")
    options = facts["chosen"]["options"] if facts["chosen"] else {}
    note = (
        ""
        if facts["method"] in OWN
        else f"# llm-compressor has no {facts['method']}; this is Wanda on the same text.\n"
    )
    kept, colon, of = facts["target"].partition(":")
    share = f"{1 - int(kept) / int(of):g}" if colon else facts["target"]
    structure = f"{int(of) - int(kept)}:{of}" if colon else "0:0"  # removed of each group
    owl = ""
    if facts["method"] == "owl":
        width, outlier = options.get("owl.lambda", "0.08"), options.get("owl.m", "5")
        owl = f', sparsity_profile="owl", owl_m={outlier}, owl_lmbda={width}'
    return f"""\
import pyarrow.parquet as pq
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning import {modifier}
from transformers import AutoModelForCausalLM

rows = pq.read_table("set.parquet", columns=["input_ids"]).to_pylist()
calibration = Dataset.from_list([{{**row, "attention_mask": [1] * len(row["input_ids"])}} for row in rows])
model = AutoModelForCausalLM.from_pretrained({json.dumps(model_place(facts))})

{note}recipe = {modifier}(
    sparsity={share}, mask_structure="{structure}", targets=["Linear"], ignore=["lm_head"]{owl}
)
oneshot(
    model=model, dataset=calibration, recipe=recipe, output_dir="pruned", shuffle_calibration_samples=False,
    num_calibration_samples={facts["samples"]}, max_seq_length={facts["length"]},
)"""


def datasets_rows(facts: Mapping[str, Any]) -> str:
    """The set as a Hugging Face dataset, its tokens as a tensor, its text as JSON lines."""
    return f"""\
import torch
from datasets import load_dataset, load_from_disk

rows = load_from_disk("dataset")
tokens = torch.tensor(rows["input_ids"][:])  # {facts["samples"]} x {facts["length"]:,}: model(input_ids=tokens[:1])

# or, for tools that take text:
texts = load_dataset("json", data_files="set.jsonl", split="train")["text"]"""
