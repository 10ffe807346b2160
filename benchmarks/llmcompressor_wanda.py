"""Runs in llm-compressor's environment: prunes whenever `prune.py` asks on standard input, and says when it is done."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the libraries print goes to standard error; before they are imported, since some print then

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from llmcompressor import oneshot  # noqa: E402
from llmcompressor.modifiers.pruning import WandaPruningModifier  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def run(model: str, ids: str, sparsity: float, threads: int, dtype: str) -> None:
    torch.set_num_threads(threads)
    rows = json.loads(Path(ids).read_text())
    network = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
    data = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})
    recipe = WandaPruningModifier(sparsity=sparsity, mask_structure="0:0", targets=["Linear"], ignore=["re:.*lm_head"])
    oneshot(
        model=network,
        dataset=data,
        recipe=recipe,
        max_seq_length=len(rows[0]),
        num_calibration_samples=len(rows),
        shuffle_calibration_samples=False,
    )


print(json.dumps(f"llm-compressor {version('llmcompressor')}"), file=answers, flush=True)
for line in sys.stdin:
    run(**json.loads(line))
    print(json.dumps("done"), file=answers, flush=True)
