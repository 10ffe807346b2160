"""Experts that few tokens reach: every option by brute force, the counts, and the checkpoints that come out."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers as tf
from artefact_files import write_mask_file
from pruning_calls import prune
from safetensors.torch import load_file, save_file
from torch import nn
from whole_model import expert_places, load, wanda_by_hand

import calibrant as cal
from calibrant.artefacts.parquet import write_table
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models.checkpoint.key_map import ParameterPlace
from calibrant.models.structure.decoder_layers import find_decoder_layers, find_linears
from calibrant.models.structure.expert_weights import find_experts
from calibrant.pruning.masks.expert_tokens import ExpertTokens, experts_of
from calibrant.pruning.masks.mask_file import read_masks, weights_path
from calibrant.pruning.masks.masked_model import load_pruned_model
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint
from calibrant.pruning.run import model_pruning
from calibrant.pruning.run.statistics_file import write_dense_statistics

EXPERTS, LAYERS = 8, 3
IDS = np.random.default_rng(3).integers(3, 97, (2, 3))  # six tokens, one expert each: two of eight get none
SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 16,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "pad_token_id": None,
    "num_experts_per_tok": 1,
}
FAMILIES: dict[str, Callable[[], Any]] = {
    "mixtral": lambda: tf.MixtralConfig(**SMALL, intermediate_size=24, num_local_experts=EXPERTS),
    "qwen3_moe": lambda: tf.Qwen3MoeConfig(
        **SMALL, intermediate_size=24, head_dim=8, num_experts=EXPERTS, moe_intermediate_size=12
    ),
    "granitemoe": lambda: tf.GraniteMoeConfig(**SMALL, intermediate_size=24, num_local_experts=EXPERTS),
}
METHODS = {"wanda": "0.5", "ria": "0.5", "sparsegpt": "0.5", "dsnot": "2:4", "owl": "2:4"}


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "set.parquet"
    write_table(path, pa.table({"input_ids": pa.array(IDS.tolist(), pa.list_(pa.int32()))}), {})
    return path


@pytest.fixture(scope="module", params=FAMILIES)
def model_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = tf.AutoModelForCausalLM.from_config(FAMILIES[request.param]()).float()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    path = tmp_path_factory.mktemp("models") / request.param
    model.save_pretrained(path)
    return path


def weights_of(model_dir: Path) -> dict[str, torch.Tensor]:
    """The experts' weights [rows, cols] by name, as the checkpoint has them."""
    found = {}
    for key, tensor in load_file(model_dir / "model.safetensors").items():
        name = key.removesuffix(".weight")
        if tensor.ndim == 3:
            found |= {f"{name}.{number}": part for number, part in enumerate(tensor)}
        elif ".experts." in name:
            found[name] = tensor
    return found


def by_magnitude(weight: np.ndarray, sparsity: str, *, whole: bool) -> np.ndarray:
    """The keep-mask of a weight: the smallest of each row go, of each four, or all up to the layer's median."""
    size = np.abs(weight)
    if whole:
        return size > np.sort(size, axis=None)[int(size.size * float(sparsity))]
    kept = np.ones_like(size, dtype=bool)
    width, pruned = (4, 2) if ":" in sparsity else (size.shape[1], int(size.shape[1] * 0.5))
    for row in range(len(size)):
        for start in range(0, size.shape[1], width):
            order = np.argsort(size[row, start : start + width], kind="stable")
            kept[row, start + order[:pruned]] = False
    return kept


@pytest.mark.parametrize("unreached", ["magnitude", "keep"])
def test_wanda_equals_brute_force_for_each_option(
    model_dir: Path, unreached: str, calibration: Path, tmp_path: Path
) -> None:
    output = tmp_path / "masks.safetensors"
    found = prune(model_dir, calibration, "wanda", "0.5", {"unreached": unreached}, output=output, progress=False)
    expected = wanda_by_hand(model_dir, IDS, 0.5, unreached)
    masks = read_masks(output).masks
    assert set(masks) == set(expected.masks)
    assert sum(int((masks[name] != expected.masks[name]).sum()) for name in masks) <= 2  # near-ties
    without = [name for name, tokens in expected.tokens.items() if not tokens]
    assert without
    for name in without:
        assert torch.equal(masks[name], expected.masks[name])
        assert bool(masks[name].all()) == (unreached == "keep")
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert found["achieved_sparsity"] == pytest.approx(1 - kept / sum(mask.numel() for mask in masks.values()))
    assert (found["achieved_sparsity"] < 0.45) == (unreached == "keep")

    counted = {name: module for layer in found["layers"] for name, module in layer["experts"].items()}
    for name, place in expert_places(load(model_dir), model_dir).items():
        module = counted[place.parameter.rpartition(".")[0]]
        assert module["tokens"][place.expert] == expected.tokens[name], name
        assert module["columns"] == max(16, {"qwen3_moe": 12}.get(model_dir.name, 24))
    experts = experts_of(found["layers"])
    assert experts is not None
    assert len(experts.tokens) == EXPERTS * LAYERS
    assert sum(experts.tokens) == IDS.size * LAYERS
    assert experts.too_few == 1.0  # six tokens in all, and 16 columns
    assert found["experts"] == {
        "experts": EXPERTS * LAYERS, "unreached": experts.tokens.count(0), "done": unreached
    }  # fmt: skip


@pytest.mark.parametrize("unreached", ["magnitude", "keep"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_honours_the_option_and_its_checkpoint_loads(
    model_dir: Path, method: str, unreached: str, calibration: Path, tmp_path: Path
) -> None:
    output, checkpoint = tmp_path / "masks.safetensors", tmp_path / "pruned"
    options = {"unreached": unreached, **({"dsnot.scope": "all"} if method == "dsnot" else {})}
    found = prune(model_dir, calibration, method, METHODS[method], options, output=output, progress=False)
    file = read_masks(output)
    places = expert_places(load(model_dir), model_dir)
    counted = {name: module for layer in found["layers"] for name, module in layer["experts"].items()}
    seen = 0
    for name, weight in weights_of(model_dir).items():
        owner = places[name].parameter.rpartition(".")[0]
        if counted[owner]["tokens"][places[name].expert]:
            continue
        seen += 1
        pattern = found["layers"][int(name.split(".")[2])]["pattern"]
        if unreached == "keep" or pattern == "4:4":
            expected = np.ones(weight.shape, dtype=bool)
        elif pattern in ("2:4", "0.5"):
            expected = by_magnitude(weight.numpy(), pattern, whole=method == "ria")
        else:
            continue
        assert np.array_equal(file.masks[name].numpy(), expected), name
        updated = file.weight(name)
        assert (updated is not None) == (method == "sparsegpt")
        if updated is not None:
            assert torch.equal(updated, weight * torch.from_numpy(expected))
    assert seen >= 2 * LAYERS

    write_pruned_checkpoint(model_dir, output, checkpoint)
    in_memory = load_pruned_model(model_dir, output, device="cpu")
    for (name, ours), (_, theirs) in zip(
        in_memory.named_parameters(), load(checkpoint).named_parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("method", ["wanda", "owl"])
def test_an_error_where_it_is_asked_for(model_dir: Path, method: str, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model\.layers\.0\..*: no token of the calibration set reaches this expert"):
        prune(
            model_dir, calibration, method, "0.5", {"unreached": "error"},
            output=tmp_path / "masks.safetensors", progress=False,
        )  # fmt: skip
    assert not (tmp_path / "masks.safetensors").exists()


def test_owl_does_not_look_at_experts_without_tokens(model_dir: Path, calibration: Path, tmp_path: Path) -> None:
    found = prune(
        model_dir, calibration, "owl", "0.5", {"owl.m": "2"}, output=tmp_path / "m.safetensors", progress=False
    )
    scores = wanda_by_hand(model_dir, IDS, 0.0).scores  # nothing pruned: of the dense model
    outliers = []
    for layer in range(LAYERS):
        pooled = torch.cat([s.flatten() for name, s in scores.items() if name.startswith(f"model.layers.{layer}.")])
        outliers.append(float((pooled > 2 * pooled.mean()).double().mean()))
    low, high = min(outliers), max(outliers)
    spread = [(o - low) / (high - low) * 0.16 for o in outliers]
    expected = [0.5 - (each - sum(spread) / LAYERS) for each in spread]
    assert [layer["requested_sparsity"] for layer in found["layers"]] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_dense_statistics_of_experts_without_tokens(
    model_dir: Path, method: str, calibration: Path, tmp_path: Path
) -> None:
    """A file of statistics gives the same bytes as a pass, whatever becomes of those experts."""
    statistics = tmp_path / "dense.safetensors"
    write_dense_statistics(model_dir, calibration, ("norm", "hessian"), output=statistics, progress=False)
    for unreached in ("magnitude", "keep"):
        made = []
        for name, given in (("pass", None), ("file", statistics)):
            output = tmp_path / f"{name}.safetensors"
            options = {"unreached": unreached, "sequential": "dense"}
            computed = {"attention": "sdpa", "products": "plain"}
            prune(
                model_dir, calibration, method, "0.5", options,
                output=output, statistics=given, progress=False, **(computed if method == "wanda" else {}),
            )  # fmt: skip
            made.append(output.read_bytes())
        assert made[0] == made[1]


def test_what_is_left_out_keeps_its_bytes(model_dir: Path, calibration: Path, tmp_path: Path) -> None:
    """Norms, routers, embeddings, and the experts that `exclude` names, as slices too."""
    output, checkpoint = tmp_path / "masks.safetensors", tmp_path / "pruned"
    leave = r"(experts|_linear)\.[1-3](\.|$)"
    found = prune(
        model_dir, calibration, "wanda", "0.5", {"exclude": leave}, output=output, progress=False
    )  # fmt: skip
    write_pruned_checkpoint(model_dir, output, checkpoint)
    before, after = (load_file(path / "model.safetensors") for path in (model_dir, checkpoint))
    assert list(before) == list(after)
    masks = read_masks(output).masks
    changed = 0
    for key, tensor in before.items():
        parts = enumerate(tensor) if tensor.ndim == 3 else [(None, tensor)]
        for number, part in parts:
            name = key.removesuffix(".weight") + ("" if number is None else f".{number}")
            written = after[key] if number is None else after[key][number]
            same = torch.equal(written.view(torch.int32), part.view(torch.int32))
            assert same == (name not in masks), name
            changed += not same
            if name in masks:
                assert torch.equal(written, part * masks[name])
    assert changed == len(masks)
    for layer in found["layers"]:
        (module,) = layer["experts"].values()
        assert [number for number, tokens in enumerate(module["tokens"]) if tokens is None] == [1, 2, 3]


def test_a_stack_saved_by_transformers_as_the_model_has_it(calibration: Path, tmp_path: Path) -> None:
    """Newer checkpoints of Mixtral and others hold `experts.gate_up_proj` whole: same masks, rows put together."""
    model = tf.AutoModelForCausalLM.from_config(FAMILIES["mixtral"]()).float()
    model.save_pretrained(tmp_path / "apart")
    model.save_pretrained(tmp_path / "stacked", save_original_format=False)
    masks = {}
    for name in ("apart", "stacked"):
        output = tmp_path / f"{name}.safetensors"
        prune(tmp_path / name, calibration, "wanda", "0.5", output=output, progress=False)
        masks[name] = read_masks(output).masks
    for layer in range(LAYERS):
        apart, stacked = f"model.layers.{layer}.block_sparse_moe.experts", f"model.layers.{layer}.mlp.experts"
        for expert in range(EXPERTS):
            both = torch.cat([masks["apart"][f"{apart}.{expert}.{part}"] for part in ("w1", "w3")])
            assert torch.equal(masks["stacked"][f"{stacked}.gate_up_proj.{expert}"], both)
            last = masks["stacked"][f"{stacked}.down_proj.{expert}"]
            assert torch.equal(last, masks["apart"][f"{apart}.{expert}.w2"])


@pytest.mark.parametrize("unreached", ["magnitude", "keep"])
def test_inspect_and_prune_say_how_many_tokens_reach_experts(
    model_dir: Path, unreached: str, calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, figures = tmp_path / "masks.safetensors", tmp_path / "figures.json"
    arguments = ["prune", "--model", model_dir, "--calibration", calibration, "--method", "wanda", "--sparsity", "0.5"]
    assert main([*map(str, arguments), "--option", f"unreached={unreached}", "--output", str(output)]) == 0
    tokens = wanda_by_hand(model_dir, IDS, 0.5, unreached).tokens
    first = [
        name for name in expert_places(load(model_dir), model_dir) if re.search(r"gate_proj|w1|input_linear", name)
    ]
    by_layer = [[tokens[name] for name in first if name.split(".")[2] == str(layer)] for layer in range(LAYERS)]
    none, done = sum(of.count(0) for of in by_layer), {"magnitude": "pruned by magnitude", "keep": "kept dense"}
    said = capsys.readouterr().out
    assert f"no token reached {none} of {EXPERTS * LAYERS} experts, {done[unreached]} (option unreached)" in said

    assert main(["inspect", str(output), "--output", str(figures)]) == 0
    shown = capsys.readouterr().out
    assert f"experts: {EXPERTS * LAYERS} in {LAYERS} layers; {none} reached by no token" in shown
    assert f"of the calibration set, {done[unreached]}" in shown
    for layer, of_layer in enumerate(by_layer):
        line = next(line for line in shown.splitlines() if line.startswith(f"model.layers.{layer} "))
        reached = f"{EXPERTS - of_layer.count(0)} of {EXPERTS}"
        assert line.split("%")[2].split() == [*reached.split(), "0", f"{median(of_layer):g}", "100.0"]
    recorded = [row["experts"] for row in json.loads(figures.read_text())]
    assert [sum(module["tokens"]) for layer in recorded for module in layer.values()] == [IDS.size] * LAYERS

    described = cal.inspect(model_dir)
    assert f"{sum(mask.numel() for mask in read_masks(output).masks.values()):,}" in described


def test_masks_without_counts_are_read_and_have_no_such_columns(tmp_path: Path) -> None:
    """Files of versions before, and magnitude, which reads no text."""
    path = write_mask_file(tmp_path / "old.safetensors", {"model.layers.0.mlp.experts.1.w1": torch.ones(2, 9) > 0})
    assert "experts reached" not in cal.inspect(path)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_stopped_run_ends_with_the_same_bytes(
    model_dir: Path, method: str, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What finished layers say of experts is kept with them."""

    def run(name: str) -> Path:
        output = tmp_path / f"{name}.safetensors"
        prune(model_dir, calibration, method, "0.5", {"unreached": "keep"}, output=output, progress=False)
        return output

    whole = run("whole")
    original = model_pruning.prune_layer

    def stopping(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.index == 1:
            raise KeyboardInterrupt
        return original(layer, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(model_pruning, "prune_layer", stopping)
        with pytest.raises(KeyboardInterrupt):
            run("stopped")
    stopped = run("stopped")
    assert stopped.read_bytes() == whole.read_bytes()
    if method == "sparsegpt":
        assert weights_path(stopped).read_bytes() == weights_path(whole).read_bytes()


@pytest.mark.parametrize("family", ["mixtral", "granitemoe"])
def test_a_checkpoint_without_the_models_prefix(family: str, calibration: Path, tmp_path: Path) -> None:
    """Its keys begin with `layers`; masks are named below the model's layers, and `apply` finds its tensors."""
    config = FAMILIES[family]()
    config.tie_word_embeddings = True
    tf.AutoModelForCausalLM.from_config(config).float().save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    save_file({key.removeprefix("model."): t for key, t in load_file(file).items()}, file, {"format": "pt"})
    output = tmp_path / "masks.safetensors"
    prune(tmp_path / "model", calibration, "wanda", "0.5", output=output, progress=False)
    masks = read_masks(output).masks
    assert len(masks) == LAYERS * (4 + EXPERTS * {"mixtral": 3, "granitemoe": 2}[family])
    assert all(name.startswith("model.layers.") for name in masks)
    write_pruned_checkpoint(tmp_path / "model", output, tmp_path / "pruned")
    in_memory = load_pruned_model(tmp_path / "model", output, device="cpu")
    for (name, ours), (_, theirs) in zip(
        in_memory.named_parameters(), load(tmp_path / "pruned").named_parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_experts_that_transformers_rearranges_are_refused() -> None:
    model = tf.AutoModelForCausalLM.from_config(FAMILIES["granitemoe"]())
    with pytest.raises(InputError, match="down_proj: transformers rearranges these experts"):
        find_linears(find_decoder_layers(model)[0])


def test_experts_of_which_nothing_says_how_they_lie_are_refused() -> None:
    """A single projection shows nothing; a first and a last do, whichever way."""
    for shapes, transposed in (
        ([(4, 16, 48), (4, 24, 16)], True), ([(4, 48, 16), (4, 16, 24)], False), ([(4, 16, 24), (4, 24, 16)], None),
        ([(4, 16, 16)], None),
    ):  # fmt: skip
        experts = nn.Module()
        for number, shape in enumerate(shapes):
            experts.register_parameter(f"w{number}", nn.Parameter(torch.zeros(shape)))
        layer = nn.Module()
        layer.add_module("experts", experts)
        names = [f"model.layers.0.experts.w{number}" for number in range(len(shapes))]
        places = {name: ParameterPlace(name) for name in names}
        if transposed is None:
            with pytest.raises(InputError, match=r"w0: nothing says whether its experts are \[out, in\]"):
                find_experts("model.layers.0", layer, places, "model.layers.0")
        else:
            found = find_experts("model.layers.0", layer, places, "model.layers.0")
            assert [each.transposed for each in found] == [transposed] * 8


def test_what_too_few_means() -> None:
    """Fewer tokens than columns; as many are enough."""
    experts = ExpertTokens((0, 15, 16, 40), (16, 16, 16, 48))
    assert (experts.unreached, experts.too_few, experts.median) == (1, 0.75, 15.5)
