"""The stage from its command line, and its agreement with lm-eval's own command line on an applied checkpoint."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

import calibrant as cal
from calibrant.artefacts.digest import sha256_file
from calibrant.cli.main import main

Masks = Callable[[Path, Path, int], Path]
KEYS = {"task", "metric", "value", "stderr", "n", "num_fewshot", "task_version", "split"}


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments), "--device", "cpu"])


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_results_and_provenance_of_a_pruned_model(
    long_model_dir: Path, rows_dir: Path, half_masks: Masks, tmp_path: Path
) -> None:
    masks = half_masks(long_model_dir, tmp_path / "masks.safetensors", 1)
    text = tmp_path / "tale.txt"
    text.write_text("the old house by the river " * 40)
    common = ["--model", long_model_dir, "--tasks", "piqa,next_sentence_tales", "--data", rows_dir, "--limit", 6]
    common += ["--text", f"{text},other={text}", "--text-tokens", 100, "--length", 40]
    assert evaluate(*common, "--output", tmp_path / "dense.json") == 0
    assert evaluate(*common, "--masks", masks, "--output", tmp_path / "pruned.json") == 0
    dense, pruned = load(tmp_path / "dense.json"), load(tmp_path / "pruned.json")
    assert all(set(row) == KEYS | ({"chance"} if row["metric"] != "perplexity" else set()) for row in dense)
    assert [row.get("chance") for row in dense] == [row.get("chance") for row in pruned]
    assert [(row["task"], row["metric"], row["n"]) for row in dense] == [
        ("piqa", "acc", 6),
        ("piqa", "acc_norm", 6),
        ("next_sentence_tales", "acc", 6),
        ("next_sentence_tales", "acc_norm", 6),
        ("tale", "perplexity", 97),
        ("other", "perplexity", 97),
    ]
    assert dense[4]["value"] != pruned[4]["value"]
    record = load(tmp_path / "pruned.provenance.json")
    assert record["masks_sha256"] == sha256_file(masks)
    assert record["inputs"]["texts/tale"] == sha256_file(text)
    assert record["inputs"]["data/piqa_validation.jsonl"] == sha256_file(rows_dir / "piqa_validation.jsonl")
    assert record["settings"]["text_tokens"] == 100
    assert record["versions"]["lm_eval"]
    assert str(tmp_path) not in (tmp_path / "pruned.provenance.json").read_text()
    assert evaluate(*common, "--masks", masks, "--output", tmp_path / "again.json") == 0
    for suffix in (".json", ".provenance.json"):
        assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"pruned{suffix}").read_bytes()


def test_a_batch_gives_the_files_of_single_runs(
    long_model_dir: Path, rows_dir: Path, half_masks: Masks, tmp_path: Path
) -> None:
    files = [None, *(half_masks(long_model_dir, tmp_path / f"{i}.safetensors", i) for i in (1, 2)), None]
    common = ["--model", long_model_dir, "--tasks", "arc_easy", "--data", rows_dir]
    jobs = [{"masks": f and str(f), "output": str(tmp_path / "batch" / f"{i}.json")} for i, f in enumerate(files)]
    (tmp_path / "batch.json").write_text(json.dumps(jobs))
    assert evaluate(*common, "--batch", tmp_path / "batch.json") == 0
    for i, file in enumerate(files):
        output = tmp_path / "single" / f"{i}.json"
        assert evaluate(*common, *(["--masks", file] if file else []), "--output", output) == 0
        for suffix in (".json", ".provenance.json"):
            together = (tmp_path / "batch" / f"{i}{suffix}").read_bytes()
            assert together == output.with_suffix(suffix).read_bytes()


@pytest.mark.parametrize("family", [transformers.MixtralConfig, transformers.GraniteMoeConfig])
def test_a_batch_puts_back_the_weights_of_experts(family: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    """They are parts of a parameter that has another name than their masks; of Granite the file has one tensor too."""
    folder = tmp_path / "experts"
    shutil.copytree(tiny_model_dir, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = family(vocab_size=400, num_key_value_heads=2, num_local_experts=3, max_position_embeddings=128, **sizes)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    masks = tmp_path / "masks.safetensors"
    cal.prune(folder, None, masks, cal.PruneSettings(method="magnitude", sparsity="0.8"), progress=False)
    text = tmp_path / "tale.txt"
    text.write_text("the old house by the river " * 40)
    files = {"first": None, "half": masks, "last": None}
    batch = [{"masks": file and str(file), "output": str(tmp_path / f"{name}.json")} for name, file in files.items()]
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    assert evaluate("--model", folder, "--text", text, "--length", 40, "--batch", tmp_path / "batch.json") == 0
    first, half, last = (load(tmp_path / f"{name}.json")[0]["value"] for name in files)
    assert first == last != half


def test_agrees_with_lm_evals_command_line_on_an_applied_checkpoint(
    long_model_dir: Path, rows_dir: Path, half_masks: Masks, tmp_path: Path
) -> None:
    masks = half_masks(long_model_dir, tmp_path / "masks.safetensors", 3)
    checkpoint = tmp_path / "checkpoint"
    assert main(["apply", "--model", str(long_model_dir), "--masks", str(masks), "--output", str(checkpoint)]) == 0
    files = {"piqa": rows_dir / "piqa_validation.jsonl", "arc_easy": rows_dir / "arc_easy_test.jsonl"}
    items = []
    for name, file in files.items():
        split = file.stem.removeprefix(f"{name}_")
        absent = {"training_split": None, "validation_split": None, "test_split": None, f"{split}_split": split}
        kwargs = {"data_files": {split: str(file)}, "cache_dir": str(tmp_path / "cache")}
        items.append({"task": name, "dataset_path": "json", "dataset_name": None, "dataset_kwargs": kwargs, **absent})
    (tmp_path / "local.yaml").write_text(yaml.safe_dump({"group": "local", "task": items}))
    command = ["-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={checkpoint},dtype=float32"]
    command += ["--tasks", "local", "--include_path", tmp_path, "--device", "cpu", "--batch_size", "4"]
    command += ["--output_path", tmp_path / "reference"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    subprocess.run(
        [sys.executable, *map(str, command)],
        check=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, **offline},
    )
    (reference,) = (tmp_path / "reference").rglob("results_*.json")
    wanted = load(reference)
    assert evaluate(
        "--model", long_model_dir, "--masks", masks, "--tasks", "piqa,arc_easy", "--data", rows_dir,
        "--output", tmp_path / "ours.json",
    ) == 0  # fmt: skip
    rows = load(tmp_path / "ours.json")
    assert len(rows) == 4
    for row in rows:
        expected = wanted["results"][row["task"]]
        assert row["value"] == pytest.approx(expected[f"{row['metric']},none"], abs=1e-12)
        assert row["stderr"] == pytest.approx(expected[f"{row['metric']}_stderr,none"], abs=1e-12)
        assert row["task_version"] == str(wanted["versions"][row["task"]])
        assert row["n"] == wanted["n-samples"][row["task"]]["effective"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output is missing"),
        (["--output", "{tmp}/o.json"], "nothing to evaluate: give --tasks, --text or both"),
        (["--output", "{tmp}", "--tasks", "piqa"], "is a folder; give the name of a file"),
        (["--output", "{tmp}/o.json", "--batch", "b.json"], "--batch takes the place of --masks and --output"),
        (["--output", "{tmp}/o.json", "--tasks", "piqa", "--limit", "0"], "--limit 0: must be at least 1"),
        (["--output", "{tmp}/o.json", "--tasks", "piqa", "--fewshot", "mmlu"], "--fewshot mmlu: must be TASK=NUMBER"),
        (["--output", "{tmp}/o.json", "--text", "{tmp}/no.txt"], "no.txt: no such file"),
        (["--output", "{tmp}/o.json", "--masks", "{tmp}/no.safetensors", "--tasks", "piqa"], "no such file"),
        (["--output", "{tmp}/o.json", "--text", "{rows}/piqa_validation.jsonl"], "has no column 'text'"),
        (["--output", "{tmp}/o.json", "--text", "{tmp}/t.txt", "--length", "4096"], "takes at most 2048 tokens"),
        (["--output", "{tmp}/o.json", "--text", "{tmp}/t.txt", "--length", "1"], "--length 1: must be at least 2"),
        (["--output", "{tmp}/o.json", "--text", "{tmp}/t.txt,{tmp}/t.txt"], "two results would be called t"),
        (
            ["--output", "{tmp}/o.json", "--text", "mmlu_philosophy={tmp}/t.txt", "--tasks", "mmlu_humanities"],
            "would be called mmlu_philosophy",
        ),
        (["--output", "{tmp}/o.json", "--batch", "{tmp}/b.json"], "--batch takes the place"),
        (["--batch", "{tmp}/b.json", "--tasks", "piqa"], "entry 0 must have just the keys masks and output"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(
    arguments: list[str],
    message: str,
    long_model_dir: Path,
    rows_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "t.txt").write_text("the river and the old mountain")
    (tmp_path / "b.json").write_text('[{"mask": null, "output": "o.json"}]')
    filled = [argument.format(tmp=tmp_path, rows=rows_dir) for argument in arguments]
    assert evaluate("--model", long_model_dir, "--data", rows_dir, *filled) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("calibrant evaluate: ")
    assert message in error
    assert not (tmp_path / "o.json").exists()


def test_masks_of_another_model_are_refused(
    tiny_model_dir: Path, long_model_dir: Path, rows_dir: Path, half_masks: Masks, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    masks = half_masks(long_model_dir, tmp_path / "masks.safetensors", 1)
    arguments = ["--model", tiny_model_dir, "--masks", masks, "--tasks", "piqa", "--data", rows_dir]
    assert evaluate(*arguments, "--output", tmp_path / "o.json") == 2
    assert "made for model long-llama" in capsys.readouterr().err
