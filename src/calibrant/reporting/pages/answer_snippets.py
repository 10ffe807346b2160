"""Commands and code that use the set of an answer, ready to be copied."""

import shlex
from collections.abc import Mapping
from typing import Any

from calibrant.reporting.pages.answer_compressors import model_place, other_tool
from calibrant.settings.target import parse_target


def snippets(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each is for, and its text; all are run in the answer's folder, where `set.parquet` lies.

    Args:
        facts: of a race that ended.
    """
    return [
        ("Calibrant", command(facts)),
        other_tool(facts),
        ("transformers, datasets", datasets_rows(facts)),
    ]


def command(facts: Mapping[str, Any]) -> str:
    """A checkpoint of the masks or codes that lie there, and those made anew, by this library."""
    options = facts["chosen"]["options"] if facts["chosen"] else {}
    model, target = shlex.quote(model_place(facts)), parse_target(facts["target"])
    lines = [
        f"calibrant prune --model {model} --calibration set.parquet",
        f"    --method {shlex.quote(facts['method'])} {shlex.join(target.arguments)}",
        *(f"    --option {shlex.quote(f'{key}={value}')}" for key, value in sorted(options.items())),
        f"    --dtype {shlex.quote(facts['dtype'])} --output again.safetensors",
    ]
    kinds = [kind for kind, there in (("masks", target.pattern), ("codes", target.width)) if there is not None]
    what, left = " and ".join(kinds), "quantized" if target.width else "pruned"
    applied = f"calibrant apply --model {model} --masks masks.safetensors --output {left}"
    again = " \\\n".join(lines)
    return f"# the model that these {what} leave\n{applied}\n\n# the {what} once more, or others\n{again}"


def datasets_rows(facts: Mapping[str, Any]) -> str:
    """The set as a Hugging Face dataset, its tokens as a tensor, its text as JSON lines."""
    return f"""\
import torch
from datasets import load_dataset, load_from_disk

rows = load_from_disk("dataset")
tokens = torch.tensor(rows["input_ids"][:])  # {facts["samples"]} x {facts["length"]:,}: model(input_ids=tokens[:1])

# or, for tools that take text:
texts = load_dataset("json", data_files="set.jsonl", split="train")["text"]"""
