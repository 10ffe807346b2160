"""Calibrant against golden/: cases that brute_force.py computed in float64 on single linear layers."""

import json
import re
from pathlib import Path
from typing import Any

import brute_force as bf
import make_golden
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from calibrant.models.structure.decoder_layers import Linear
from calibrant.pruning.methods.composition import Method, compose
from calibrant.pruning.methods.input_statistics import Statistics, new_statistics, update
from calibrant.pruning.run.weight_decisions import Decision, decide
from calibrant.settings.sparsity import NM, Unstructured

GOLDEN = make_golden.FOLDER
CASES = json.loads((GOLDEN / "cases.json").read_text())
LARGEST = 100_000  # bytes of all files together
TOLERANCE = 1e-5  # of SparseGPT's updated weights, which are below 1; here they differ by 1e-6


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    make_golden.make(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in GOLDEN.iterdir() if path.name != "README.md"}
    assert set(made) == set(kept)
    assert [name for name in made if made[name] != kept[name]] == []
    assert sum(map(len, made.values())) < LARGEST


def statistics_of(method: Method, sequences: list[np.ndarray]) -> Statistics:
    kinds = method.needs | method.allocation.needs
    statistics = new_statistics(sequences[0].shape[1], kinds, torch.device("cpu"))
    for x in sequences:
        update(statistics, torch.from_numpy(x).float())
    return statistics


def as_linear(name: str, weight: np.ndarray) -> Linear:
    module = nn.Linear(*reversed(weight.shape), bias=False)
    module.weight.data.copy_(torch.from_numpy(weight))
    return Linear(name, module)


def run(case: dict[str, Any]) -> tuple[dict[str, Decision], list[float], list[Unstructured | NM]]:
    """What Calibrant decides in float32, each decoder layer's observation where there is one, and its pattern."""
    arrays = np.load(GOLDEN / f"{case['layers']}.npz")
    method = compose(case["method"], case["sparsity"], {name: str(value) for name, value in case["options"].items()})
    linears, statistics = {}, {}
    for name, (weight, sequences) in make_golden.read_linears(arrays).items():
        linears[name] = as_linear(name, weight)
        statistics[name] = statistics_of(method, sequences)
    layers = [
        {name: linear for name, linear in linears.items() if name.startswith(prefix)}
        for prefix in sorted({name.partition(".")[0] for name in linears})
    ]
    observations = []
    if method.allocation.observe is not None:
        for layer in layers:
            seen = {name: (linear.weight, statistics[name]) for name, linear in layer.items()}
            observations.append(method.allocation.observe(seen, method.settings))
    sizes = [sum(linear.weight.numel() for linear in layer.values()) for layer in layers]
    patterns = method.allocation.allocate(method.pattern, observations, sizes, method.settings)
    decisions = {}
    for layer, pattern in zip(layers, patterns, strict=True):
        decisions |= decide(layer, statistics, method, pattern)
    return decisions, [seen * size / 100 for seen, size in zip(observations, sizes, strict=False)], patterns


@pytest.mark.parametrize("name", CASES)
def test_calibrant_gives_the_golden_masks(name: str) -> None:
    golden = np.load(GOLDEN / f"{name}.npz")
    decisions, outliers, patterns = run(CASES[name])
    assert {f"{linear}.mask" for linear in decisions} == {key for key in golden if key.endswith(".mask")}
    for linear, decision in decisions.items():
        mask = np.unpackbits(golden[f"{linear}.mask"], axis=1, count=decision.mask.shape[1]).astype(bool)
        assert np.argwhere(decision.mask.numpy() != mask).tolist() == [], f"{linear}: these weights' fates differ"
        assert (decision.weight is not None) == (f"{linear}.updated" in golden)
        if decision.weight is not None:
            np.testing.assert_allclose(decision.weight.numpy(), golden[f"{linear}.updated"], rtol=0, atol=TOLERANCE)
            assert (decision.weight.numpy()[~mask] == 0).all()
    if "outliers" in golden:
        assert outliers == pytest.approx(golden["outliers"].tolist(), abs=1e-6)
    if "ratios" in golden:
        found = [pattern.ratio for pattern in patterns if isinstance(pattern, Unstructured)]
        assert found == pytest.approx(golden["ratios"].tolist(), abs=1e-9)
    if "kept" in golden:
        assert [pattern.n for pattern in patterns if isinstance(pattern, NM)] == golden["kept"].tolist()


def test_the_readme_shows_how_and_names_every_case(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (GOLDEN / "README.md").read_text()
    assert [name for name in CASES if f"| `{name}` |" not in readme] == []
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert "calibrant" not in snippet
    monkeypatch.chdir(GOLDEN)
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out == "linear: 0 weights have another fate\n"


def first_inputs(golden_dir: Path) -> list[np.ndarray]:
    """What the first decoder layer's query, key and value projections of the published golden model see."""
    model = load_file(golden_dir / "model" / "model.safetensors")
    epsilon = json.loads((golden_dir / "model" / "config.json").read_text())["rms_norm_eps"]
    ids = load_file(golden_dir / "calibration.safetensors")["input_ids"]
    hidden = model["model.embed_tokens.weight"].astype(np.float64)[ids]
    normed = hidden / np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + epsilon)
    return list(normed * model["model.layers.0.input_layernorm.weight"])


@pytest.mark.parametrize(
    "case",
    [
        "magnitude-unstructured-0.5",
        "magnitude-4of8",
        "wanda-unstructured-0.6",
        "wanda-2of4",
        "dsnot-wanda-all-unstructured-0.7",
        "dsnot-wanda-all-2of4",
        "sparsegpt-2of4",
    ],
)
def test_the_brute_force_gives_the_published_masks(case: str, golden_dir: Path) -> None:
    """Bit for bit on one linear whose inputs need no model: so the golden cases stand on the published codes too."""
    linear = "model.layers.0.self_attn.v_proj"
    W = load_file(golden_dir / "model" / "model.safetensors")[f"{linear}.weight"].astype(np.float64)
    sequences = first_inputs(golden_dir)
    pattern = case.rpartition("-")[2]
    pruned, _, m = pattern.partition("of")
    sparsity: bf.Sparsity = (int(m) - int(pruned), int(m)) if m else float(pattern)
    margin = bf.Margin()
    if case.startswith("magnitude"):
        mask = bf.magnitude(W, sparsity, margin)
    elif case.startswith("wanda"):
        mask = bf.wanda(W, sequences, sparsity, margin)
    elif case.startswith("dsnot"):
        mask = bf.dsnot(W, sequences, sparsity, 0.1, 50, 1.0, margin)
    else:
        mask, updated = bf.sparsegpt(W, sequences, sparsity, 0.01, 128, margin)
        published = load_file(golden_dir / f"{case}.weights.safetensors")[f"{linear}.weight"]
        np.testing.assert_allclose(updated, published, rtol=1e-3, atol=1e-6)  # they are kept in float16
    packed = load_file(golden_dir / f"{case}.safetensors")[linear]
    assert int((np.packbits(mask, axis=1) != packed).sum()) == 0
