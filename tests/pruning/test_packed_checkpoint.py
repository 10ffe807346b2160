"""Quantized checkpoints in the format of compressed-tensors: the bits, what is said of them, and what reads them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM

import calibrant as cal
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.mask_record import mask_metadata
from calibrant.pruning.masks.model_card import model_card
from calibrant.pruning.masks.packed_integers import pack_words, packed_tensors
from calibrant.pruning.quantized_weight import QuantizedWeight

PACKED = cal.ApplySettings(format="compressed-tensors")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def quantize(model: Path, calibration: Path | None, output: Path, method: str = "gptq", **how: Any) -> Path:
    asked = {"bits": 4, "group": 16, "dtype": "float32", "device": "cpu", **how}
    cal.prune(model, calibration, output, cal.PruneSettings(method=method, **asked), progress=False)
    return output


def unpacked(words: Tensor, bits: int, count: int) -> Tensor:
    """The codes of words, one bit after the other, as whole numbers."""
    found = []
    for row in words.tolist():
        joined = sum((word & 0xFFFFFFFF) << (32 * place) for place, word in enumerate(row))
        found.append([(joined >> (bits * place)) & (2**bits - 1) for place in range(count)])
    return torch.tensor(found)


def weights_of(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def decoded(tensors: dict[str, Tensor], name: str, bits: int) -> Tensor:
    """NAME's weight from a checkpoint's tensors, by what the format says."""
    rows, cols = tensors[f"{name}.weight_shape"].tolist()
    scales = tensors[f"{name}.weight_scale"]
    codes = unpacked(tensors[f"{name}.weight_packed"], bits, cols).reshape(rows, scales.shape[1], -1)
    zeros = torch.full_like(scales, 2 ** (bits - 1))
    if f"{name}.weight_zero_point" in tensors:
        zeros = unpacked(tensors[f"{name}.weight_zero_point"].T, bits, rows).T.to(torch.float32)
    return ((codes - zeros[:, :, None]) * scales[:, :, None]).reshape(rows, cols)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([2, 4, 8]), st.integers(1, 3), st.integers(1, 40), st.randoms(use_true_random=False))
def test_codes_lie_in_words_from_the_lowest_bits(bits: int, rows: int, cols: int, random: Any) -> None:
    codes = torch.tensor([[random.randrange(2**bits) for _ in range(cols)] for _ in range(rows)], dtype=torch.uint8)
    words = pack_words(codes, bits)
    assert words.dtype == torch.int32
    assert words.shape == (rows, -(-cols * bits // 32))
    assert unpacked(words, bits, cols).equal(codes.to(torch.int64))
    assert not unpacked(words, bits, words.shape[1] * 32 // bits)[:, cols:].any()


CASES = [
    ("gptq", 4, 16, {}),
    ("gptq", 4, None, {"gptq.act_order": "true"}),
    ("gptq", 4, 16, {"gptq.act_order": "true", "gptq.static_groups": "true"}),
    ("rtn", 8, 16, {"symmetric": "true"}),
    ("wrtn", 2, 32, {}),
    ("awq", 4, 16, {"symmetric": "true"}),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case[:3])))
def written(
    request: pytest.FixtureRequest,
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with codes.safetensors, and what apply makes of them in both forms."""
    method, bits, group, options = request.param
    folder = tmp_path_factory.mktemp("written")
    calibration = None if method == "rtn" else tiny_calibration
    masks = quantize(
        tiny_model_dir, calibration, folder / "codes.safetensors", method, bits=bits, group=group, option=options
    )
    cal.apply(tiny_model_dir, masks, folder / "hf")
    cal.apply(tiny_model_dir, masks, folder / "packed", PACKED)
    return folder


def test_the_packed_weights_are_the_dequantized_ones(written: Path) -> None:
    file = read_masks(written / "codes.safetensors")
    assert file.width is not None
    dense, packed = weights_of(written / "hf"), weights_of(written / "packed")
    for name in file.masks:
        assert f"{name}.weight" not in packed
        assert decoded(packed, name, file.width.bits).equal(dense[f"{name}.weight"])
        assert (f"{name}.weight_zero_point" in packed) == (not file.symmetric)
    others = {key for key in dense if key.removesuffix(".weight") not in file.masks}
    assert all(packed[key].equal(dense[key]) for key in others)
    assert {key for key in packed if "weight_" not in key} == others


def test_the_configuration_says_how_weights_are_stored(written: Path, tiny_model_dir: Path) -> None:
    file = read_masks(written / "codes.safetensors")
    assert file.width is not None
    config = json.loads((written / "packed/config.json").read_text())
    said = config.pop("quantization_config")
    assert config == json.loads((tiny_model_dir / "config.json").read_text())
    assert (said["quant_method"], said["format"]) == ("compressed-tensors", "pack-quantized")
    assert said["ignore"] == ["lm_head"]
    assert said["config_groups"]["group_0"]["targets"] == ["Linear"]
    weights = said["config_groups"]["group_0"]["weights"]
    assert (weights["num_bits"], weights["symmetric"]) == (file.width.bits, file.symmetric)
    strategy = "channel" if file.width.group is None else "group"
    assert (weights["strategy"], weights["group_size"]) == (strategy, file.width.group)


def check_logits(folder: Path, dtype: torch.dtype) -> None:
    ids = torch.arange(3, 51).reshape(2, 24)
    with torch.no_grad():
        dense, packed = (
            AutoModelForCausalLM.from_pretrained(folder / form, dtype=dtype)(ids).logits for form in ("hf", "packed")
        )
    assert packed.dtype == dtype
    assert packed.equal(dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_transformers_computes_the_same_logits(written: Path, dtype: torch.dtype) -> None:
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    check_logits(written, dtype)


def test_transformers_leaves_alone_what_is_not_quantized(sharded: Path) -> None:
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    check_logits(sharded, torch.float32)


def test_compressed_tensors_reads_the_configuration_and_unpacks_the_codes(written: Path) -> None:
    """By its own code, without transformers, and without what is written for transformers alone."""
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig

    said = json.loads((written / "packed/config.json").read_text())["quantization_config"]
    scheme = QuantizationConfig.model_validate(said).config_groups["group_0"]
    dense, packed = weights_of(written / "hf"), weights_of(written / "packed")
    compressor = BaseCompressor.get_value_from_registry(said["format"])
    for name in read_masks(written / "codes.safetensors").masks:
        own = {key.removeprefix(f"{name}."): value for key, value in packed.items() if key.startswith(f"{name}.")}
        assert compressor.decompress(own, scheme)["weight"].equal(dense[f"{name}.weight"])


@pytest.fixture(scope="module")
def sharded(tiny_model_dir: Path, tiny_calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in several files, whose keys stay dense, in both forms."""
    folder = tmp_path_factory.mktemp("sharded")
    AutoModelForCausalLM.from_pretrained(tiny_model_dir).save_pretrained(folder / "m", max_shard_size="60KB")
    for name in TOKENIZER:
        shutil.copy(tiny_model_dir / name, folder / "m" / name)
    masks = quantize(folder / "m", tiny_calibration, folder / "codes.safetensors", option={"exclude": "k_proj$"})
    cal.apply(folder / "m", masks, folder / "hf")
    cal.apply(folder / "m", masks, folder / "packed", PACKED)
    return folder


def test_shards_keep_their_tensors_and_the_index_names_them(sharded: Path) -> None:
    index = json.loads((sharded / "packed/model.safetensors.index.json").read_text())
    shards = {file.name: load_file(file) for file in (sharded / "packed").glob("*.safetensors")}
    assert len(shards) > 1
    assert index["weight_map"] == {key: name for name, tensors in shards.items() for key in tensors}
    assert index["metadata"]["total_size"] == sum(each.nbytes for found in shards.values() for each in found.values())
    config = json.loads((sharded / "packed/config.json").read_text())
    left = [f"model.layers.{layer}.self_attn.k_proj" for layer in range(2)]
    assert config["quantization_config"]["ignore"] == ["lm_head", *left]


def test_what_the_format_does_not_take(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"bits": 3}, "with 2, 4 or 8 bits, and these codes have 3"),
        ({"option": {"gptq.act_order": "true"}}, "gptq.static_groups=true"),
        ({"method": "sparsegpt", "sparsity": "0.5"}, "these prune 0.5+w4g16 too"),
        ({"method": "wanda", "sparsity": "0.5", "bits": None, "group": None}, "wanda made none"),
    ]
    for how, said in cases:
        masks = quantize(tiny_model_dir, tiny_calibration, tmp_path / "q.safetensors", **how)
        files = ["--model", str(tiny_model_dir), "--masks", str(masks), "--output", str(tmp_path / "o")]
        assert main(["apply", *files, "--format", "compressed-tensors"]) == 2
        message = capsys.readouterr().err
        assert said in message
        assert "leave out --format" in message
        assert message.count("\n") == 1
        assert not (tmp_path / "o").exists()
    assert main(["apply", *files, "--format", "gguf"]) == 2
    assert "use hf or compressed-tensors" in capsys.readouterr().err


def test_experts_in_a_stack_and_other_layers_are_refused(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    mixtral = MixtralConfig(
        **sizes, intermediate_size=32, num_key_value_heads=2, num_local_experts=4, max_position_embeddings=64
    )
    gpt2 = GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=4, n_positions=64)
    models = {"an expert in a stack": MixtralForCausalLM(mixtral), "Conv1D": GPT2LMHeadModel(gpt2)}
    for number, (said, model) in enumerate(models.items()):
        folder = tmp_path / str(number)
        model.save_pretrained(folder)
        for name in TOKENIZER:
            shutil.copy(tiny_model_dir / name, folder / name)
        masks = quantize(folder, None, tmp_path / f"{number}.safetensors", "rtn")
        with pytest.raises(InputError, match=said):
            cal.apply(folder, masks, tmp_path / "o", PACKED)


def test_zeros_that_are_not_where_the_file_says_are_refused() -> None:
    codes = torch.zeros(4, 8, dtype=torch.uint8)
    scales, zeros = torch.ones(4, 2), torch.full((4, 2), 8, dtype=torch.uint8)
    assert "weight_zero_point" not in packed_tensors(QuantizedWeight(codes, scales, zeros, 4), True)
    with pytest.raises(InputError, match="not all in the middle"):
        packed_tensors(QuantizedWeight(codes, scales, zeros.add(1), 4), True)
    with pytest.raises(InputError, match="no runs of columns"):
        packed_tensors(QuantizedWeight(codes, scales, zeros, 4, torch.zeros(8, dtype=torch.int32)), False)


def test_a_card_says_the_width_and_its_commands_make_the_same_checkpoint(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base").symlink_to(tiny_model_dir)
    shutil.copy(tiny_calibration, "set.parquet")
    options = {"symmetric": "true", "gptq.act_order": "true", "gptq.static_groups": "true"}
    quantize(Path("base"), Path("set.parquet"), Path("first.safetensors"), option=options)
    cal.apply("base", "first.safetensors", "first", PACKED)
    card = model_card({**mask_metadata("first.safetensors"), "model": "base"}, form="compressed-tensors")
    for said in (
        "# base, quantized by gptq to 4 bits, group 16",
        "14 of those layers have weights of 4 bits, with a scale for each 16 columns of a row.",
        "in the format pack-quantized of compressed-tensors",
        "# pip install compressed-tensors",
        "- 4-bit\n",
    ):
        assert said in card
    assert "to zero" not in card
    for line in card.split("```sh\n")[1].split("```")[0].splitlines():
        assert main(line.split()[1:]) == 0
    for name in ("model.safetensors", "config.json"):
        assert Path("model", name).read_bytes() == Path("first", name).read_bytes()
    plain = model_card({**mask_metadata("first.safetensors"), "model": "base"})
    assert "`calibrant apply --format compressed-tensors` stores the codes" in plain
    assert "--format" not in plain.split("```sh\n")[1].split("```")[0]
