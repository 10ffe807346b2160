"""A study made on the spot: evaluations, masks, scores, samples and sidecars as the stages write them."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from artefact_files import write_small_masks

from calibrant.artefacts.parquet import write_table
from calibrant.calibration.sample_set import write_samples

SOURCES = ("web", "wikipedia", "news", "speech")
TASKS = {"next_sentence_web": 0.63, "next_sentence_news": 0.46, "piqa": 0.51}  # piqa: at chance with 200 items
ITEMS = 200
DENSE_PPL = 13.6
LEVELS = {"0.5": 24.0, "0.6": 66.0, "2:4": 110.0}
SHIFT = {"web": -0.06, "wikipedia": -0.10, "news": 0.02, "speech": -0.04}  # log perplexity, generated minus real
LENGTH = 16


@dataclass
class FakeStudy:
    """Writes files under a folder and keeps the index that describes them."""

    folder: Path
    seeds: int = 2
    methods: tuple[str, ...] = ("wanda",)
    sparsities: tuple[str, ...] = ("0.5", "0.6")
    sources: tuple[str, ...] = SOURCES
    origins: tuple[str, ...] = ("real", "synthetic")
    text: Callable[[str, str, int], str] = lambda source, origin, i: f"{source} & <b>{origin}</b> row {i}\nline two"
    runs: list[dict[str, Any]] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def evaluation(self, name: str, perplexity: float, accuracy: dict[str, float]) -> str:
        rows: list[dict[str, Any]] = [
            {
                "task": "fiction",
                "metric": "perplexity",
                "value": perplexity,
                "stderr": perplexity * 0.02,
                "n": 8192,
                "num_fewshot": 0,
                "task_version": None,
                "split": "test",
            }
        ]
        for task, value in accuracy.items():
            value = round(value * ITEMS) / ITEMS
            common = {
                "stderr": (value * (1 - value) / (ITEMS - 1)) ** 0.5,
                "n": ITEMS,
                "num_fewshot": 0,
                "task_version": 1.0,
                "split": "test",
            }
            rows += [{"task": task, "metric": metric, "value": value, **common} for metric in ("acc", "acc_norm")]
        path = self.folder / "evaluations" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
        return str(path)

    def masks(self, name: str, achieved: float) -> str:
        path = self.folder / "masks" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(write_small_masks(path, achieved, method="wanda"))

    def add(
        self, method: str, sparsity: str, source: str | None, origin: str | None, seed: int | None, **setting: Any
    ) -> None:
        """Evaluate a model and name it in the index; `setting`: samples, prefix_length, drop, calibration."""
        words = (method, sparsity, source, origin, seed, *(v for k, v in setting.items() if k != "calibration"))
        name = "-".join(str(p).replace(":", "of") for p in words if p is not None)
        if method == "dense":
            perplexity, scale = DENSE_PPL, 1.0
        elif method == "magnitude":
            perplexity, scale = LEVELS[sparsity] * (14 if sparsity != "0.5" else 3), 0.4
        else:
            shift = SHIFT.get(str(source), 0.0) if origin == "synthetic" else 0.02 * len(str(source))
            perplexity = LEVELS[sparsity] * float(np.exp(shift + 0.015 * self.rng.standard_normal()))
            scale = 0.75 if sparsity == "0.5" else 0.45
        accuracy = {
            task: value if task == "piqa" else 0.25 + (value - 0.25) * scale + 0.012 * float(self.rng.standard_normal())
            for task, value in TASKS.items()
        }
        share = 0.5 if ":" in sparsity else float(sparsity)
        self.runs.append(
            {
                "evaluation": self.evaluation(name, perplexity, accuracy), "model": "SmolLM2-135M-Instruct",
                "source": source, "origin": origin, "method": method, "sparsity": sparsity, "seed": seed,
                "samples": 16 if source else None, "calibration": None,
                "masks": None if method == "dense" else self.masks(name, share + 0.0001), **setting,
            }
        )  # fmt: skip

    def add_all(self) -> None:
        self.add("dense", "0", None, None, None)
        for sparsity in self.sparsities:
            self.add("magnitude", sparsity, None, None, None)
            for method in self.methods:
                for source in self.sources:
                    for origin in self.origins:
                        for seed in range(self.seeds):
                            self.add(method, sparsity, source, origin, seed)

    def sample_files(self, source: str, origin: str, seed: int | None, rows: int) -> tuple[str, str]:
        name = f"{source}-{origin}-{seed}"
        samples, scores = self.folder / "samples" / f"{name}.parquet", self.folder / "scores" / f"{name}.parquet"
        center = (3.1 if origin == "real" else 2.2) + 0.1 * len(source)
        spread = 0.5 if origin == "real" else 0.3
        perplexity = np.exp(center + spread * self.rng.standard_normal(rows))
        columns: dict[str, Any] = {
            "sample_id": list(range(rows)),
            "input_ids": [[1] * LENGTH] * rows,
            "text": [self.text(source, origin, i) for i in range(rows)],
            "source": [source] * rows,
            "origin": [origin] * rows,
            "doc_ids": [[f"{source}-{i}"] for i in range(rows)],
            "prefix_length": [0 if origin == "real" else 4] * rows,
            "perplexity": pa.array([None] * rows, pa.float32()),
        }
        if origin == "synthetic":
            columns["sample_seed"] = list(range(rows))
            columns["finish_reason"] = ["length"] * rows
        metadata: dict[str, Any] = {"model": "m", "model_sha256": "ef" * 32, "tokenizer_sha256": "01" * 32}
        if origin == "synthetic":
            metadata["model_ends"] = {"share": 0.8125}
        write_samples(samples, pa.table(columns), metadata, generated=origin == "synthetic")
        minimum = -1.1 + (0.5 if origin == "synthetic" else 0) + 0.15 * self.rng.standard_normal(rows)
        write_table(
            scores,
            pa.table(
                {
                    "sample_id": list(range(rows)), "perplexity": perplexity, "min_k_plus_plus": minimum,
                    "tokens": pa.array([LENGTH] * rows, pa.int32()),
                }
            ),
            {"model": "m"},
        )  # fmt: skip
        return str(samples), str(scores)

    def index(self) -> dict[str, Any]:
        samples, scores, provenance = [], [], []
        for source in self.sources:
            for origin in self.origins:
                for seed in range(self.seeds) if origin == "real" else [None]:
                    one, two = self.sample_files(source, origin, seed, 16 if origin == "real" else 40)
                    entry = {"source": source, "origin": origin, "seed": seed}
                    samples.append({**entry, "path": one})
                    scores.append({**entry, "path": two})
            path = self.folder / "sources" / source / "provenance.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                json.dumps(
                    {
                        "origin": {"package": "corpora", "version": "1.0", "member": source, "sha256": "ab" * 32},
                        "licence": "CC BY-SA 3.0",
                        "counts": {"read": 1000, "dropped": {"duplicate": 12, "too_short": 88}, "kept": 850,
                                   "heldout": 50, "characters": 1234567},
                    }
                )
            )  # fmt: skip
            provenance.append({"kind": "source", "name": source, "path": str(path)})
        path = self.folder / "model" / "provenance.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": "SmolLM2-135M-Instruct", "sha256": "cd" * 32, "licence": "Apache-2.0"}))
        provenance.append({"kind": "model", "name": "model", "path": str(path)})
        return {
            "study": {
                "name": "fake",
                "title": "On which text should SmolLM2-135M-Instruct be calibrated?",
                "model": {
                    "id": "SmolLM2-135M-Instruct",
                    "note": "4-bit (Q4_1) weights, dequantised; instruction-tuned; not the hub checkpoint",
                },
                "settings": [
                    {"name": "Calibration sets", "value": "16 sequences of 512 tokens"},
                    {"name": "Filter", "value": "the 20 % of highest perplexity are dropped"},
                ],
                "sources": [{"name": "web"}, {"name": "wikipedia"}] if "web" in self.sources else [],
                "tasks": [{"name": name} for name in TASKS],
                "machine": [{"name": "Cores", "value": 2}],
            },
            "runs": self.runs,
            "scores": scores,
            "samples": samples,
            "provenance": provenance,
        }

    def write(self) -> Path:
        path = self.folder / "index.json"
        path.write_text(json.dumps(self.index()))
        return path


@pytest.fixture(scope="session")
def varied_study(tmp_path_factory: pytest.TempPathFactory) -> FakeStudy:
    """Two methods, 50 %, 60 % and 2:4, two sources; Wanda at 60 % with other samples, prefixes and filter rates."""
    main = {"prefix_length": 4, "drop": 0.2}
    sparsities = ("0.5", "0.6", "2:4")
    fake = FakeStudy(tmp_path_factory.mktemp("varied"), 2, ("wanda", "owl"), sparsities, ("web", "wikipedia"))
    fake.add_all()
    for run in fake.runs:
        run |= main if run["origin"] == "synthetic" else {}
    for source, seed in itertools.product(fake.sources, range(fake.seeds)):
        for samples in (8, 32):
            fake.add("wanda", "0.6", source, "real", seed, samples=samples)
        for other in ({"prefix_length": 1}, {"prefix_length": 16}, {"drop": 0.0}, {"drop": 0.4}):
            fake.add("wanda", "0.6", source, "synthetic", seed, **{**main, **other})
    return fake


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., FakeStudy]:
    """Make a study below a fresh folder: `make_study(seeds=1, sources=("web",))`."""

    def make(**options: Any) -> FakeStudy:
        folder = tmp_path / f"study-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        fake = FakeStudy(folder, **options)
        fake.add_all()
        return fake

    return make


@pytest.fixture
def study(make_study: Callable[..., FakeStudy]) -> FakeStudy:
    """Four sources, real and generated, two seeds, 50 % and 60 %, Wanda, with dense and magnitude."""
    return make_study()
