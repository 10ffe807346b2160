"""Memory of pruning and of applying where one tensor holds all experts: a process of its own, and its own pages."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers as tf

from calibrant.artefacts.parquet import write_table

EXPERTS, WIDTH, INNER = 24, 512, 1024
WEIGHTS = EXPERTS * 3 * WIDTH * INNER  # of one layer's experts, 2 bytes each
FIRST = 2 / 3  # the share of the larger tensor

SCRIPT = """
import shutil, sys, threading, time
from pathlib import Path
import torch
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint
from calibrant.settings.stage_settings import PruneSettings
from calibrant.stages import pruning

def own():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])

def watch():
    while True:
        peak[0] = max(peak[0], own())
        time.sleep(0.002)

def prune(model):
    settings = PruneSettings(method="wanda", sparsity="0.5", device="cpu", dtype="bfloat16", threads=1)
    pruning.prune(model, calibration, folder / "masks.safetensors", settings, progress=False)

def apply(model):
    write_pruned_checkpoint(model, folder / "masks.safetensors", folder / "pruned")
    shutil.rmtree(folder / "pruned")

step = {"prune": prune, "apply": apply}[sys.argv[1]]
folder, small, large, calibration = map(Path, sys.argv[2:])
if step is apply:
    (folder / "masks.safetensors").rename(folder / "large.safetensors")
prune(small), apply(small)  # whatever is imported or kept is there before
if step is apply:
    (folder / "large.safetensors").rename(folder / "masks.safetensors")
peak = [0]
before = own()
threading.Thread(target=watch, daemon=True).start()
step(large)
print(peak[0] - before)
"""


def granite(path: Path, width: int, inner: int, experts: int) -> Path:
    config = tf.GraniteMoeConfig(
        vocab_size=97, hidden_size=width, intermediate_size=inner, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, num_local_experts=experts, num_experts_per_tok=2,
        pad_token_id=None,
    )  # fmt: skip
    tf.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_experts_are_in_memory_once(tmp_path: Path) -> None:
    """Pruning: the layer, and a byte of mask for each weight. Applying: a few slices of the tensor."""
    ids = np.random.default_rng(1).integers(3, 97, (4, 32)).tolist()
    calibration = tmp_path / "set.parquet"
    write_table(calibration, pa.table({"input_ids": pa.array(ids, pa.list_(pa.int32()))}), {})
    small, large = granite(tmp_path / "small", 64, 64, 4), granite(tmp_path / "large", WIDTH, INNER, EXPERTS)
    layer = 2 * WEIGHTS
    # the allocator gives back what is freed, so that only what is in use counts
    grown = {}
    for step in ("prune", "apply"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, step, tmp_path, small, large, calibration],
            check=True, capture_output=True, text=True, env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        )  # fmt: skip
        grown[step] = int(done.stdout.splitlines()[-1]) / layer
    assert 1.3 < grown["prune"] < 1.5 + FIRST / 2, grown
    assert grown["apply"] < FIRST / 2, grown
