"""Runs in llm-compressor's environment: compresses when `llmcompressor_process.py` asks on standard input,
and says when it is done."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the libraries print goes to standard error; before they are imported, since some print then

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from llmcompressor import oneshot  # noqa: E402
from llmcompressor.modifiers import Modifier  # noqa: E402
from llmcompressor.modifiers.pruning import WandaPruningModifier  # noqa: E402
from llmcompressor.modifiers.quantization import GPTQModifier  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def recipe(sparsity: float | None = None, bits: int = 4, group: int = 64) -> Modifier:
    """Wanda to a sparsity, or GPTQ to a width: asymmetric, without act-order, blocks of 128 columns, damping 0.01."""
    which = {"targets": ["Linear"], "ignore": ["re:.*lm_head"]}
    if sparsity is not None:
        return WandaPruningModifier(sparsity=sparsity, mask_structure="0:0", **which)
    weights = {"num_bits": bits, "type": "int", "symmetric": False, "strategy": "group", "group_size": group}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return GPTQModifier(
        config_groups=groups, ignore=which["ignore"], block_size=128, dampening_frac=0.01, actorder=None
    )


def run(model: str, ids: str, threads: int, dtype: str, **asked: Any) -> None:
    torch.set_num_threads(threads)
    rows = json.loads(Path(ids).read_text())
    network = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
    data = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})
    oneshot(
        model=network,
        dataset=data,
        recipe=recipe(**asked),
        max_seq_length=len(rows[0]),
        num_calibration_samples=len(rows),
        shuffle_calibration_samples=False,
    )


print(json.dumps(f"llm-compressor {version('llmcompressor')}"), file=answers, flush=True)
for line in sys.stdin:
    run(**json.loads(line))
    print(json.dumps("done"), file=answers, flush=True)
