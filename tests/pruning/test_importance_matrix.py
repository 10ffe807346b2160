"""An importance matrix for llama.cpp: its own file byte for byte, sums by plain hooks, names of every known family."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers as tf
from support import ROOT

import calibrant as cal
from calibrant.artefacts.parquet import write_table
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models.checkpoint.gguf_names import ARCHITECTURES
from calibrant.pruning.run import importance_matrix
from calibrant.pruning.run.importance_file import write_importance_file
from calibrant.pruning.run.importance_matrix import write_importance_matrix

IDS = np.random.default_rng(3).integers(3, 97, (2, 5))  # ten tokens
SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "pad_token_id": None,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 20,
    "shared_intermediate_size": 20,
    "num_local_experts": 8,
    "num_experts": 8,
    "num_experts_per_tok": 1,
}
BLOOM_AND_MPT = {"n_layers": 2, "n_heads": 2, "d_model": 16}
DENSE = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
DENSE |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
DENSE |= {"mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp"}
DENSE |= {f"mlp.shared_expert.{each}_proj": f"ffn_{each}_shexp" for each in ("gate", "up", "down")}


def write_model(folder: Path, model_type: str, **settings: Any) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = tf.AutoConfig.for_model(model_type, **{**SMALL, **settings})
        model = tf.AutoModelForCausalLM.from_config(config).float()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("calibration") / "set.parquet", IDS)


def write_set(path: Path, ids: np.ndarray) -> Path:
    write_table(path, pa.table({"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}), {})
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    """Tensors as llama.cpp reads them: by name, in the file's order, [matrices, cols]."""
    return {tensor.name: np.atleast_2d(np.array(tensor.data)) for tensor in gguf.GGUFReader(path).tensors}


def metadata(path: Path) -> dict[str, Any]:
    fields = gguf.GGUFReader(path).fields.values()
    return {field.name: field.contents() for field in fields if not field.name.startswith("GGUF.")}


def by_hooks(folder: Path, experts: int = 0) -> dict[str, np.ndarray]:
    """The same entries by hooks of PyTorch on the whole model, in float64; experts are worked out from the routing."""
    model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, experts_implementation="eager")
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, torch.Tensor] = {}

    def add(entry: str, rows: torch.Tensor, place: int = 0, places: int = 1) -> None:
        rows = rows.reshape(-1, rows.shape[-1]).double()
        sums.setdefault(entry, torch.zeros(places, rows.shape[1], dtype=torch.float64))[place] += rows.square().sum(0)
        counts.setdefault(entry, torch.zeros(places, 1))[place] += len(rows)

    def of_experts(layer: str, module: Any, hidden: torch.Tensor, chosen: torch.Tensor) -> None:
        for expert in range(experts):
            rows = hidden[(chosen == expert).any(-1)]
            gate, up = (rows @ module.gate_up_proj[expert].T).chunk(2, -1)
            for kind in ("gate", "up"):
                add(f"{layer}.ffn_{kind}_exps.weight", rows, expert, experts)
            add(f"{layer}.ffn_down_exps.weight", torch.nn.functional.silu(gate) * up, expert, experts)

    for name, module in model.named_modules():
        _, _, tail = name.partition("model.layers.")
        layer, _, tail = tail.partition(".")
        if tail in DENSE:
            entry = f"blk.{layer}.{DENSE[tail]}.weight"
            module.register_forward_pre_hook(lambda _, given, entry=entry: add(entry, given[0]))
        elif tail == "mlp.experts":
            block = f"blk.{layer}"
            module.register_forward_pre_hook(lambda m, given, block=block: of_experts(block, m, given[0], given[1]))
    with torch.no_grad():
        for row in torch.from_numpy(IDS):
            model(row[None])
    found = {f"{entry}.in_sum2": value.numpy() for entry, value in sums.items()}
    return found | {f"{entry}.counts": value.numpy() for entry, value in counts.items()}


@pytest.mark.parametrize(("model_type", "experts"), [("llama", 0), ("mixtral", 8), ("qwen2_moe", 8)])
def test_sums_and_counts_by_plain_hooks(model_type: str, experts: int, calibration: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", model_type)
    said = write_importance_matrix(model, calibration, tmp_path / "x.gguf", device="cpu", progress=False)
    found, expected = read(tmp_path / "x.gguf"), by_hooks(model, experts)
    assert set(found) == set(expected)
    for name, value in found.items():
        assert value.dtype == np.float32
        assert value.shape == expected[name].shape
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6)
    entries = list(dict.fromkeys(name.rpartition(".")[0] for name in found))
    assert list(found) == [name for entry in sorted(entries) for name in (f"{entry}.in_sum2", f"{entry}.counts")]
    downs = [value for name, value in found.items() if name.endswith("ffn_down_exps.weight.counts")]
    assert (said["entries"], said["experts"]) == (len(entries), 2 * experts)
    assert said["unreached"] == sum(int((value == 0).sum()) for value in downs)
    assert (said["unreached"] > 0) == (experts > 0)  # ten tokens, one expert each, eight experts in two layers


def test_experts_lie_as_llama_cpp_has_them(calibration: Path, tmp_path: Path) -> None:
    """Two dimensions, the columns first as GGUF counts them; what is one matrix has one dimension."""
    model = write_model(tmp_path / "model", "granitemoe")
    write_importance_matrix(model, calibration, tmp_path / "x.gguf", device="cpu", progress=False)
    shapes = {tensor.name: tensor.shape.tolist() for tensor in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    assert shapes["blk.1.ffn_up_exps.weight.in_sum2"] == [16, 8]
    assert shapes["blk.1.ffn_up_exps.weight.counts"] == [1, 8]
    assert shapes["blk.1.ffn_gate_exps.weight.in_sum2"] == [16, 8]
    assert shapes["blk.1.ffn_down_exps.weight.in_sum2"] == [24, 8]
    assert shapes["blk.1.ffn_gate_inp.weight.in_sum2"] == [16]
    assert shapes["blk.1.ffn_gate_inp.weight.counts"] == [1]
    found = read(tmp_path / "x.gguf")
    assert found["blk.1.ffn_up_exps.weight.counts"].sum() == IDS.size
    np.testing.assert_allclose(
        found["blk.1.ffn_up_exps.weight.in_sum2"].sum(0), found["blk.1.ffn_gate_inp.weight.in_sum2"][0], rtol=1e-5
    )


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_family_has_its_names(model_type: str, calibration: Path, tmp_path: Path) -> None:
    """llama.cpp's loader asks an architecture for exactly these tensors of a layer, norms and biases apart."""
    model = write_model(tmp_path / "model", model_type, **(BLOOM_AND_MPT if model_type in ("bloom", "mpt") else {}))
    write_importance_matrix(model, calibration, tmp_path / "x.gguf", device="cpu", progress=False)
    kinds = defaultdict(set)
    for name in read(tmp_path / "x.gguf"):
        _, layer, kind, weight, _ = name.split(".")
        assert weight == "weight"
        kinds[layer].add(kind)
    assert kinds["0"] == kinds["1"]
    architecture = gguf.MODEL_TENSORS[gguf.MODEL_ARCH[ARCHITECTURES[model_type]]]
    known = {gguf.TENSOR_NAMES[tensor].removeprefix("blk.{bid}.") for tensor in architecture}
    assert kinds["0"] <= known
    attention = {"attn_q", "attn_k", "attn_v"} if "attn_q" in kinds["0"] else {"attn_qkv"}
    assert kinds["0"] >= attention | {"attn_output"}
    experts = {f"ffn_{kind}_exps" for kind in ("gate", "up", "down")} | {"ffn_gate_inp"}
    assert kinds["0"] >= ({"ffn_down", "ffn_up"} if "ffn_down" in kinds["0"] else experts)


def test_the_command(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "x.gguf"
    words = ["export", "--format", "imatrix", "--calibration", str(tiny_calibration), "--output", str(output)]
    assert main([*words, "--model", str(tiny_model_dir), "--device", "cpu"]) == 0
    assert f"{output}: 14 tensors of llama.cpp's names, 96 tokens\n" in capsys.readouterr().err
    said = {"imatrix.datasets": ["calibration.parquet"], "imatrix.chunk_count": 4, "imatrix.chunk_size": 24}
    assert metadata(output) == {"general.type": "imatrix", **said}
    record = json.loads((tmp_path / "x.provenance.json").read_text())
    assert (record["stage"], record["format"], record["model"]) == ("export", "imatrix", "tiny-llama")
    first = output.read_bytes()
    assert main([*words, "--model", str(tiny_model_dir), "--device", "cpu"]) == 0  # replaces its own
    assert output.read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.gguf", "x.provenance.json"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "imatrix", "--output", "x.gguf"], "give --model"),
        (["--format", "imatrix", "--output", "x.dat", "--model", "MODEL"], "the name must end in .gguf"),
        (["--format", "imatrix", "--model", "MODEL"], "give --output"),
        (["--format", "imatrix", "--output", "x.gguf", "--jsonl", "x", "--model", "MODEL"], "leave out --jsonl"),
        (["--format", "imatrix", "--output", "mine.gguf", "--model", "MODEL"], "does not replace it"),
        (["--format", "imatrix", "--output", "x.gguf", "--model", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    said: str,
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.gguf").write_bytes(b"GGUF")
    given = [str(tiny_model_dir) if word == "MODEL" else word for word in words]
    assert main(["export", "--calibration", str(tiny_calibration), *given]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.gguf"]


def test_a_family_without_names_is_said(calibration: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "opt", ffn_dim=24, word_embed_proj_dim=16, pad_token_id=1)
    with pytest.raises(InputError, match="its model_type is opt; they are for apertus, arcee, "):
        write_importance_matrix(model, calibration, tmp_path / "x.gguf", device="cpu", progress=False)
    assert not (tmp_path / "x.gguf.partial").exists()


def test_a_killed_run_goes_on(
    calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path
) -> None:
    model = write_model(tmp_path / "model", "mixtral")
    write_importance_matrix(model, calibration, tmp_path / "whole.gguf", device="cpu", progress=False)
    original, written = importance_matrix.write_tensors, []

    def stopping(file: Path, *rest: Any) -> str:
        original(file, *rest)
        written.append(file)
        raise InterruptedError

    monkeypatch.setattr(importance_matrix, "write_tensors", stopping)
    output = tmp_path / "x.gguf"
    for _ in range(2):
        with pytest.raises(InterruptedError):
            write_importance_matrix(model, calibration, output, device="cpu", progress=False)
        assert not output.exists()
    write_importance_matrix(model, calibration, output, device="cpu", progress=False)
    assert len(written) == 2  # each layer was written once
    assert output.read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    assert not output.with_name("x.gguf.partial").exists()


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden/imatrix"


def test_the_file_is_that_of_llama_imatrix_to_the_byte(golden: Path, tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(value.copy()) for name, value in read(golden / "imatrix.gguf").items()}
    shuffled = dict(sorted(tensors.items(), key=lambda entry: entry[0][::-1]))
    write_importance_file(tmp_path / "x.gguf", shuffled, ["im/dev.txt"], 4, 512)
    assert (tmp_path / "x.gguf").read_bytes() == (golden / "imatrix.gguf").read_bytes()


@pytest.mark.slow
def test_the_matrix_of_the_default_model_is_that_of_llama_imatrix(golden: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = ROOT / "data/smollm2-135m/model"
    if not (model / "config.json").is_file():
        pytest.skip(f"the default study's model is not here ({model}); make study writes it")
    ids = load_file(golden / "calibration.safetensors")["input_ids"].numpy()
    calibration = write_set(tmp_path / "dev.parquet", ids)
    settings = cal.ExportSettings(format="imatrix", dtype="float32", device="cpu")
    cal.export(calibration, tmp_path / "x.gguf", settings, model=model, progress=False)
    found, expected = read(tmp_path / "x.gguf"), read(golden / "imatrix.gguf")
    assert list(found) == list(expected)
    for name, value in found.items():
        assert value.shape == expected[name].shape
        if name.endswith(".counts"):
            assert np.array_equal(value, expected[name])
        else:
            distance = np.linalg.norm(value.astype(float) - expected[name])
            assert distance <= 1e-3 * np.linalg.norm(expected[name].astype(float)), name
    own = {**metadata(golden / "imatrix.gguf"), "imatrix.datasets": ["dev.parquet"]}
    assert metadata(tmp_path / "x.gguf") == own
