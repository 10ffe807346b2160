"""The stages called by hand, one after the other, give the files that the workflow made, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workspace import Workspace

pytestmark = pytest.mark.smoke

DATA = "data/mine"
MODEL = f"--model {DATA}/model"
DOCUMENTS = f"--documents {DATA}/sources/stories/documents.parquet --source stories"
COMPUTE = "--dtype auto --device auto --threads 1"
DECODING = "--top-k 50 --top-p 0.95 --temperature 0.6 --repetition-penalty 1.2 --end-of-text suppress"
RUN = "stories-p4-d0.2-n4-s0/wanda-0.5"

CHAIN = [
    (f"sample {DOCUMENTS} {MODEL} --samples 4 --length 32 --seed 0", "sets/stories-real-n4-s0.parquet"),
    (
        f"generate {DOCUMENTS} {MODEL} --prefix-length 4 --samples 8 --length 32 --seed 0 {DECODING} --batch-size 8"
        f" {COMPUTE}",
        "generated/stories-p4.parquet",
    ),
    (
        f"score --samples hand/generated/stories-p4.parquet {MODEL} --span continuation --min-k 50 {COMPUTE}",
        "scores/generated/stories-p4.parquet",
    ),
    (
        "filter --samples hand/generated/stories-p4.parquet --scores hand/scores/generated/stories-p4.parquet"
        " --drop 0.2 --take 4 --seed 0",
        "sets/stories-p4-d0.2-n4-s0.parquet",
    ),
    (
        f"prune {MODEL} --calibration hand/sets/stories-p4-d0.2-n4-s0.parquet --method wanda --sparsity 0.5 {COMPUTE}",
        f"masks/{RUN}.safetensors",
    ),
    (
        f"evaluate {MODEL} --masks hand/masks/{RUN}.safetensors --tasks next_sentence_stories --data {DATA}/tasks"
        f" --text {DATA}/texts/other/documents.parquet --text-tokens 512 --length 32 {COMPUTE}",
        f"evaluations/{RUN}.json",
    ),
]


def test_stages_by_hand_give_the_same_files(finished_study: Workspace) -> None:
    folder = finished_study.folder
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    # One process for all stages: importing torch seven times would take longer than the stages.
    script = "import sys; from calibrant.cli.main import main; sys.exit(max(main(a.split()) for a in sys.argv[1:]))"
    commands = [f"{command} --output hand/{output}" for command, output in CHAIN]
    commands.append(f"apply {MODEL} --masks hand/masks/{RUN}.safetensors --output hand/pruned")
    result = subprocess.run(
        [sys.executable, "-c", script, *commands], cwd=folder, env=environment, text=True, capture_output=True
    )
    assert result.returncode == 0, result.stderr
    for _, output in CHAIN:
        assert Path(folder / "hand" / output).read_bytes() == Path(folder / DATA / output).read_bytes(), output
    assert (folder / "hand/pruned/config.json").exists()
