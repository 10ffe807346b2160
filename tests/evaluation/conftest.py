"""Rows of every kind of task, made on the spot, and a tiny model long enough for five examples."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval.tasks
import numpy as np
import pytest
import torch
import yaml
from artefact_files import write_mask_file
from support import make_text

Row = dict[str, Any]


def write_rows(path: Path, rows: list[Row]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def sentence(seed: int, words: int = 8) -> str:
    return make_text(words, seed)


def mmlu_subjects() -> list[str]:
    folder = Path(lm_eval.tasks.__file__).parent / "mmlu" / "default"
    names = [yaml.safe_load(path.read_text())["dataset_name"] for path in sorted(folder.glob("mmlu_*.yaml"))]
    assert len(names) == 57
    return names


@pytest.fixture(scope="session")
def rows_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of the paper's seven tasks and of a next-sentence task."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    seeds = iter(range(10**6))

    def texts(count: int, words: int = 6) -> list[str]:
        return [sentence(next(seeds), words) for _ in range(count)]

    def label(count: int) -> int:
        return int(rng.integers(count))

    piqa = [dict(zip(("goal", "sol1", "sol2"), texts(3), strict=True)) | {"label": label(2)} for _ in range(12)]
    write_rows(folder / "piqa_validation.jsonl", piqa)
    for name in ("arc_easy", "arc_challenge"):
        arc = [
            {
                "question": sentence(next(seeds)),
                "choices": {"text": texts(4, 3), "label": list("ABCD")},
                "answerKey": "ABCD"[label(4)],
            }
            for _ in range(9)
        ]
        write_rows(folder / f"{name}_test.jsonl", arc)
    hellaswag = [
        {
            "activity_label": "Rowing",
            "ctx_a": sentence(next(seeds)),
            "ctx_b": "they [step] row",
            "endings": texts(4),
            "label": str(label(4)),
        }
        for _ in range(8)
    ]
    write_rows(folder / "hellaswag_validation.jsonl.gz", hellaswag)
    winogrande = [
        {
            "sentence": "the river carried small boats while _ watched from stones.",
            "option1": first.split()[0],
            "option2": second.split()[1],
            "answer": str(1 + label(2)),
        }
        for first, second in (texts(2) for _ in range(8))
    ]
    write_rows(folder / "winogrande_xl_validation.jsonl", winogrande)
    boolq = [{"passage": sentence(next(seeds), 20), "question": "is it old", "label": label(2)} for _ in range(8)]
    write_rows(folder / "boolq_validation.jsonl", boolq)

    def questions(count: int) -> list[Row]:
        return [
            {"question": sentence(next(seeds), 4), "subject": subject, "choices": list("pqrs"), "answer": label(4)}
            for subject in mmlu_subjects()
            for _ in range(count)
        ]

    write_rows(folder / "mmlu_test.jsonl.gz", questions(2))
    write_rows(folder / "mmlu_dev.jsonl", questions(5))
    write_rows(folder / "next_sentence_tales_test.jsonl", next_sentences(12, 77))
    return folder


def next_sentences(count: int, seed: int) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [
        {
            "context": sentence(seed + 10 * i, 12),
            "choices": [sentence(seed + 10 * i + j, 7) for j in range(1, 5)],
            "label": int(rng.integers(4)),
            "doc_id": f"tale-{i}",
        }
        for i in range(count)
    ]


@pytest.fixture(scope="session")
def long_model_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with room for 2,048 tokens (its positions are rotary, so the weights stay)."""
    path = tmp_path_factory.mktemp("long") / "long-llama"
    shutil.copytree(tiny_model_dir, path)
    config = json.loads((path / "config.json").read_text())
    config["max_position_embeddings"] = 2048
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="session")
def half_masks() -> Callable[[Path, Path, int], Path]:
    """Writes masks of a model that keep a random half of each decoder layer's weights."""
    from calibrant.models.checkpoint.checkpoint_files import fingerprint
    from calibrant.models.checkpoint.loading import load_model

    def write(model_dir: Path, path: Path, seed: int) -> Path:
        model = load_model(model_dir, device="cpu")
        generator = torch.Generator().manual_seed(seed)
        masks = {
            name: torch.rand(module.weight.shape, generator=generator) < 0.5
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and "layers" in name
        }
        return write_mask_file(path, masks, model="long-llama", model_sha256=fingerprint(model_dir), method="random")

    return write
