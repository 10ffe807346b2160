"""A broken checkpoint is one line before any work, the same one in every stage."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

import calibrant as cal
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import write_table
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.checkpoint.weight_bytes import hash_and_peaks
from calibrant.models.checkpoint.weight_headers import read_header
from calibrant.pruning.run.run_inputs import open_model

FIXTURE = [HealthCheck.function_scoped_fixture]
TEXT = "The river carried small boats to the harbour, and the harbour kept them through the winter.\n\n" * 40
Copy = Callable[[], Path]


@pytest.fixture
def copy(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Copies of the tiny model that a test may damage."""
    return lambda: Path(shutil.copytree(tiny_model_dir, tmp_path_factory.mktemp("damaged") / "model"))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_alike(model: Path) -> str:
    """What opening for pruning says, which loading for the other stages says too."""
    message = refusal(lambda: open_model(model, "float32", "cpu"))
    assert refusal(lambda: load_model(model, dtype="float32", device="cpu")) == message
    assert str(model) in message
    return message


def edit_config(model: Path, **changes: Any) -> None:
    config = json.loads((model / "config.json").read_text()) | changes
    (model / "config.json").write_text(json.dumps(config))


def parts(file: Path) -> tuple[dict[str, Any], bytes]:
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def join(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


# ---- headers

NUMBERS = st.one_of(st.integers(-2, 200), st.sampled_from([2**31, 2**63, 2**64 - 1]), st.floats(), st.text(max_size=2))
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "I32", "U8", "F64", "X9", 7, None, ["F32"]]),
        "shape": st.one_of(st.lists(NUMBERS, max_size=3), st.none(), st.text(max_size=2)),
        "data_offsets": st.one_of(st.lists(NUMBERS, max_size=3), st.none(), st.integers()),
    },
)
DAMAGE = st.one_of(
    st.tuples(st.just("entry"), st.sampled_from("abc"), ENTRIES),
    st.tuples(st.just("replaced"), st.sampled_from("abcd"), st.one_of(ENTRIES, st.none(), st.integers())),
    st.tuples(st.just("cut"), st.integers(0, 300), st.none()),
    st.tuples(st.just("length"), st.sampled_from([0, 1, 7, 10**6, 2**40, 2**63, 2**64 - 1]), st.none()),
    st.tuples(st.just("byte"), st.integers(0, 200), st.integers(0, 255)),
    st.tuples(st.just("more"), st.binary(min_size=1, max_size=9), st.none()),
    st.tuples(st.just("metadata"), st.one_of(st.none(), st.integers(), st.lists(st.text())), st.none()),
)


def damaged(raw: bytes, header: dict[str, Any], body: bytes, damage: Any) -> bytes:
    kind, what, value = damage
    header = json.loads(json.dumps(header))
    match kind:
        case "entry":
            header[what] |= value
        case "replaced":
            header[what] = value
        case "cut":
            return raw[:what]
        case "length":
            return struct.pack("<Q", what) + raw[8:]
        case "byte":
            return raw[:what] + bytes([value]) + raw[what + 1 :]
        case "more":
            return raw + what
        case _:
            header["__metadata__"] = what
    return join(header, body)


@settings(max_examples=120, deadline=None, suppress_health_check=FIXTURE)
@given(damage=DAMAGE)
def test_a_header_is_read_only_if_safetensors_reads_it_so(tmp_path: Path, damage: Any) -> None:
    """Nothing but InputError comes out of a damaged file, and what is accepted is what safetensors has too."""
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(3, 4), "b": torch.zeros(5, dtype=torch.bfloat16), "c": torch.ones(2)}, file)
    raw = file.read_bytes()
    file.write_bytes(damaged(raw, *parts(file), damage))
    try:
        found = read_header(file).tensors
    except InputError:
        return
    assert hash_and_peaks(file, found)[0]
    with safe_open(file, framework="pt") as opened:
        assert set(found) == set(opened.keys())
        for name, tensor in found.items():
            piece = opened.get_slice(name)
            assert (tensor.dtype, list(tensor.shape)) == (piece.get_dtype(), piece.get_shape())


@settings(max_examples=12, deadline=None, suppress_health_check=FIXTURE)
@given(data=st.data())
def test_files_that_are_no_weights(copy: Copy, data: st.DataObject) -> None:
    model = copy()
    file = model / "model.safetensors"
    header, _ = parts(file)
    names = sorted(set(header) - {"__metadata__"})
    name = data.draw(st.sampled_from(names))
    kind = data.draw(st.sampled_from(["cut", "shape", "integers", "gone", "folder", "pipe", "dangling", "circle"]))
    weights = load_file(file)
    match kind:
        case "cut":
            file.write_bytes(file.read_bytes()[: data.draw(st.integers(0, file.stat().st_size - 1))])
        case "shape":
            save_file({**weights, name: torch.cat([weights[name], weights[name]])}, file, {"format": "pt"})
        case "integers":
            save_file({**weights, name: weights[name].int()}, file, {"format": "pt"})
        case "gone":
            save_file({key: value for key, value in weights.items() if key != name}, file, {"format": "pt"})
        case _:
            file.unlink()
            if kind == "folder":
                file.mkdir()
            elif kind == "pipe":
                os.mkfifo(file)
            else:
                file.symlink_to("model.safetensors" if kind == "circle" else "nowhere")
    message = refused_alike(model)
    expected = {"shape": "has shape", "integers": "is of I32", "gone": "1 weights are missing"}
    assert expected.get(kind, "model.safetensors: ") in message
    if kind in ("shape", "integers", "gone"):
        assert name in message


# ---- configurations

COUNTS = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "intermediate_size")
SIZES = (*COUNTS, "vocab_size", "max_position_embeddings", "head_dim")
VALUES = st.sampled_from([0, -1, -(2**40), "x", "", [], [3], {}, True, float("nan"), 10**6, 10**12, 2**70])
WRONG = st.one_of(
    st.tuples(st.sampled_from(SIZES), VALUES),
    st.sampled_from(
        [
            ("hidden_act", "bogus"),
            ("hidden_act", None),
            ("rope_parameters", {"rope_type": "bogus", "rope_theta": 1e4}),
            ("rope_parameters", {"rope_type": "default", "rope_theta": "x"}),
            ("_attn_implementation", "flash_attention_2"),
            ("_attn_implementation", "kernels-community/flash-attn"),
            ("attn_implementation", "evil/kernel"),
            ("dtype", "bogus"),
            ("dtype", "int8"),
            ("architectures", [5]),
            ("architectures", 7),
            ("model_type", "nonesuch"),
            ("rms_norm_eps", float("nan")),
            ("quantization_config", {"quant_method": "gptq", "bits": 4}),
            ("quantization_config", {"quant_method": "bogus"}),
        ]
    ),
)
FITTING = (("max_position_embeddings", 10**6), ("max_position_embeddings", 10**12), ("max_position_embeddings", 2**70))


@settings(max_examples=40, deadline=None, suppress_health_check=FIXTURE)
@given(wrong=WRONG)
def test_configurations_that_no_model_has(
    copy: Copy, capfd: pytest.CaptureFixture[str], wrong: tuple[str, Any]
) -> None:
    assume(wrong not in FITTING)  # rotary positions have no table
    model = copy()
    edit_config(model, **dict([wrong]))
    capfd.readouterr()
    message = refusal(lambda: open_model(model, "float32", "cpu"))
    other = refusal(lambda: load_model(model, dtype="float32", device="cpu"))
    assert str(model) in message
    assert other == message or wrong[0] == "quantization_config"  # whose packages evaluation may have
    assert capfd.readouterr().err == ""


def test_a_million_layers_of_a_part_are_not_built(tmp_path: Path) -> None:
    """Counts in parts of a configuration are bounded by what the weights hold."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = tf.MixtralConfig(vocab_size=60, num_key_value_heads=2, num_local_experts=3, **sizes)
    tf.MixtralForCausalLM(config).save_pretrained(tmp_path)
    edit_config(tmp_path, num_local_experts=10**9)
    assert "num_local_experts 1000000000, but the weights are" in refused_alike(tmp_path)


def test_pipes_and_endless_nesting(copy: Copy) -> None:
    model = copy()
    (model / "tokenizer_config.json").unlink()
    os.mkfifo(model / "tokenizer_config.json")
    assert "tokenizer_config.json: is a pipe" in refusal(lambda: open_checkpoint(model))
    model = copy()
    (model / "config.json").write_text('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")
    assert "config.json" in refusal(lambda: open_checkpoint(model))
    assert "cannot be looked up" in refusal(lambda: open_checkpoint("a" * 300))


# ---- numbers

STAGES = ("prune", "magnitude", "statistics", "apply", "evaluate", "score", "generate")


@pytest.fixture
def calls(tiny_model_dir: Path, tmp_path: Path) -> Callable[[Path, str], object]:
    """Every stage that reads weights, on one model after the other."""
    (tmp_path / "text.txt").write_text(TEXT)
    out = tmp_path / "out"
    out.mkdir()
    text, ids = tmp_path / "text.txt", tmp_path / "set.parquet"
    cal.sample(text, tiny_model_dir, ids, cal.SampleSettings(samples=2, length=16))
    masks = tmp_path / "masks.safetensors"
    cal.prune(tiny_model_dir, None, masks, cal.PruneSettings(method="magnitude", sparsity="0.5"), progress=False)

    def call(model: Path, stage: str) -> object:
        wanda, magnitude = (cal.PruneSettings(method=name, sparsity="0.5") for name in ("wanda", "magnitude"))
        match stage:
            case "prune":
                return cal.prune(model, ids, out / "a.safetensors", wanda, progress=False)
            case "magnitude":
                return cal.prune(model, None, out / "b.safetensors", magnitude, progress=False)
            case "statistics":
                return cal.statistics(model, ids, out / "c.safetensors", progress=False)
            case "apply":
                return cal.apply(model, masks, out / "d")
            case "evaluate":
                return cal.evaluate(model, out / "e.json", cal.EvaluateSettings(length=32), texts=[text])
            case "score":
                return cal.score(ids, model, out / "f.parquet")
            case _:
                return cal.generate(text, model, out / "g.parquet", cal.GenerateSettings(samples=2, length=16))

    return call


@pytest.mark.parametrize(
    ("dtype", "value", "said"),
    [
        (torch.float32, float("nan"), "not a number"),
        (torch.bfloat16, float("-inf"), "infinite"),
        (torch.float16, float("inf"), "infinite"),
        (torch.float32, -1e38, "as large as 1e+38"),
        (torch.float64, 1e300, "as large as 1e+300"),
    ],
)
def test_numbers_that_nothing_can_be_computed_with(
    copy: Copy, calls: Callable[[Path, str], object], tmp_path: Path, dtype: torch.dtype, value: float, said: str
) -> None:
    model = copy()
    weights = {name: tensor.to(dtype) for name, tensor in load_file(model / "model.safetensors").items()}
    weights["model.layers.1.mlp.up_proj.weight"][7, 5] = value
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    for stage in STAGES:
        message = refusal(lambda stage=stage: calls(model, stage))  # type: ignore[misc]
        assert message.startswith(f"model {model}: weight model.layers.1.mlp.up_proj.weight holds numbers")
        assert said in message
        assert not any((tmp_path / "out").iterdir())


def test_numbers_that_a_format_cannot_hold(copy: Copy) -> None:
    model = copy()
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][2] = 70_000
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    message = refusal(lambda: load_model(model, dtype="float16", device="cpu"))
    assert message == refusal(lambda: open_model(model, "float16", "cpu"))
    assert "model.norm.weight holds numbers as large as 70000, and float16 ends at 65504" in message
    load_model(model, dtype="float32", device="cpu")


@settings(max_examples=30, deadline=None, suppress_health_check=FIXTURE)
@given(
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    values=st.lists(st.floats(width=16), min_size=1, max_size=70_000 // 512),
    times=st.integers(1, 1500),
)
def test_the_largest_number_of_a_tensor(tmp_path: Path, dtype: torch.dtype, values: list[float], times: int) -> None:
    tensor = torch.tensor(values * times, dtype=dtype)
    file = tmp_path / "x.safetensors"
    save_file({"x": tensor, "whole": torch.arange(3)}, file)
    digest, peaks = hash_and_peaks(file, read_header(file).tensors)
    assert digest == sha256_file(file)
    assert list(peaks) == ["x"]
    wanted = float(tensor.abs().max().double())
    assert peaks["x"] == wanted or (np.isnan(wanted) and np.isnan(peaks["x"]))


# ---- tokenizers and positions


def test_a_tokenizer_of_another_model(copy: Copy, tmp_path: Path) -> None:
    model = copy()
    weights = load_file(model / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights[name][:300].clone()
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    edit_config(model, vocab_size=300)
    (tmp_path / "text.txt").write_text(TEXT)
    short = cal.SampleSettings(samples=2, length=16)
    message = refusal(lambda: cal.sample(tmp_path / "text.txt", model, tmp_path / "s.parquet", short))
    assert "its tokenizer has 400 ids, and the model knows 300" in message
    assert refusal(lambda: load_tokenizer(open_checkpoint(model))) == message


def test_tokens_added_beyond_the_models_are_let_be(copy: Copy) -> None:
    """As Gemma 3's for images: text never gives them."""
    model = copy()
    tokenizer = load_tokenizer(model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(model)
    assert len(load_tokenizer(open_checkpoint(model))) == 401


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_sets_longer_than_a_table_of_positions(tiny_model_dir: Path, tmp_path: Path, family: str) -> None:
    model = tmp_path / "model"
    if family == "gpt2":
        config: Any = tf.GPT2Config(vocab_size=400, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    else:
        config = tf.OPTConfig(
            vocab_size=400,
            hidden_size=16,
            ffn_dim=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            word_embed_proj_dim=16,
            max_position_embeddings=32,
        )
    tf.AutoModelForCausalLM.from_config(config).save_pretrained(model)
    load_tokenizer(tiny_model_dir).save_pretrained(model)
    (tmp_path / "text.txt").write_text(TEXT)
    out, text = tmp_path / "o.parquet", tmp_path / "text.txt"
    wanda = cal.PruneSettings(method="wanda", sparsity="0.5")

    def stages(ids: Path, length: int) -> list[Callable[[], object]]:
        return [
            lambda: cal.sample(text, model, out, cal.SampleSettings(samples=2, length=length)),
            lambda: cal.prune(model, ids, tmp_path / "m.safetensors", wanda, progress=False),
            lambda: cal.statistics(model, ids, tmp_path / "s.safetensors", progress=False),
            lambda: cal.score(ids, model, tmp_path / "scores.parquet"),
        ]

    for length in (32, 33):
        ids = tmp_path / f"{length}.parquet"
        rows = np.random.default_rng(0).integers(3, 300, (2, length)).tolist()
        write_table(ids, pa.table({"input_ids": pa.array(rows, pa.list_(pa.int32()))}), {})
        for stage in stages(ids, length):
            if length == 32:
                stage()
            else:
                assert f"sequences of 33 tokens, but {model} has 32 positions" in refusal(stage)


def test_rotary_positions_have_no_table(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Longer sequences than a Llama was trained on are computed all the same."""
    assert open_checkpoint(tiny_model_dir).positions == 128
    (tmp_path / "text.txt").write_text(TEXT)
    cal.sample(tmp_path / "text.txt", tiny_model_dir, tmp_path / "s.parquet", cal.SampleSettings(samples=1, length=130))


def test_the_safetensors_package_agrees_that_they_are_damaged(copy: Copy) -> None:
    """Overlapping tensors, and a header longer than the file."""
    file = copy() / "model.safetensors"
    header, body = parts(file)
    first, second = sorted(set(header) - {"__metadata__"})[:2]
    for raw in (
        join(header | {first: header[second]}, body),
        struct.pack("<Q", 2**63) + b"{" * 100,
    ):
        file.write_bytes(raw)
        assert "cannot be read as safetensors" in refused_alike(file.parent)
        with pytest.raises(SafetensorError):
            safe_open(file, framework="pt").__enter__()
