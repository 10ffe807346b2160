import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from calibrant.artefacts.provenance import write_provenance
from calibrant.errors import InputError
from calibrant.models.checkpoint import checkpoint_files as files
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.checkpoint.weight_files import weight_files
from calibrant.models.compute.devices import choose_device
from calibrant.models.compute.number_formats import dtype_name


@pytest.fixture
def model(tmp_path: Path, tiny_model_dir: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def edit_config(model: Path, **changes: object) -> None:
    config = json.loads((model / "config.json").read_text()) | changes
    (model / "config.json").write_text(json.dumps(config))


def edit_weights(model: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(model / "model.safetensors")
    change(weights)
    save_file(weights, model / "model.safetensors", {"format": "pt"})


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_resolves_to_itself(model: Path) -> None:
    assert files.resolve(model) == model
    assert files.resolve(str(model)) == model


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/nowhere/at/all", "a/b/c", "../a/b"])
def test_what_is_neither_a_folder_nor_a_hub_id(name: str) -> None:
    assert f"model {name}: no such folder, and not a hub id" in refusal(lambda: files.resolve(name))


def test_a_folder_without_config_and_a_file_are_refused(model: Path) -> None:
    assert "is a file" in refusal(lambda: files.resolve(model / "config.json"))
    (model / "config.json").unlink()
    assert "has no config.json" in refusal(lambda: files.resolve(model))


def test_an_unreachable_hub_id_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = refusal(lambda: files.resolve("nobody/no-such-model"))
    assert "model nobody/no-such-model: neither a local folder nor reachable on the hub" in message


def test_loads_for_inference(model: Path) -> None:
    loaded = load_model(model, device="cpu")
    assert isinstance(loaded, LlamaForCausalLM)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    weights = load_file(model / "model.safetensors")
    assert torch.equal(loaded.lm_head.weight, weights["lm_head.weight"])


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_a_given_number_format_is_obeyed(model: Path, asked: str) -> None:
    edit_config(model, dtype="bfloat16")
    loaded = load_model(model, dtype=asked, device="cpu")
    assert {dtype_name(p.dtype) for p in loaded.parameters()} == {asked}


def test_shards_are_loaded_and_a_lost_one_is_named(model: Path) -> None:
    whole = load_model(model, device="cpu")
    (model / "model.safetensors").unlink()
    whole.save_pretrained(model, max_shard_size="60KB")
    shards = weight_files(model)
    assert len(shards) > 1
    assert shards == sorted(shards)
    ids = torch.arange(20)[None]
    assert torch.equal(load_model(model, device="cpu")(ids).logits, whole(ids).logits)
    shards[1].unlink()
    assert shards[1].name in refusal(lambda: load_model(model, device="cpu"))


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "consolidated.00.pth"])
def test_pickles_are_refused(model: Path, pickle: str) -> None:
    torch.save({"lm_head.weight": torch.zeros(2, 2)}, model / pickle)
    load_model(model, device="cpu")  # beside safetensors they are left alone
    (model / "model.safetensors").unlink()
    message = refusal(lambda: load_model(model, device="cpu"))
    assert f"pickled weights such as {pickle} are not loaded" in message


def test_no_weights_at_all(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert refusal(lambda: load_model(model)).endswith("no *.safetensors file")


def test_missing_weights_are_counted_and_named(model: Path) -> None:
    edit_weights(model, lambda w: [w.pop(f"model.layers.1.mlp.{n}_proj.weight") for n in ("up", "down")])
    message = refusal(lambda: load_model(model, device="cpu"))
    assert "2 weights are missing, the first is model.layers.1.mlp.down_proj.weight" in message


def test_weights_of_another_shape_are_named(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit_config(model, intermediate_size=48)
    message = refusal(lambda: load_model(model, device="cpu"))
    assert "model.layers.0.mlp.down_proj.weight has shape [32, 64]; its config asks for [32, 48]" in message
    assert capfd.readouterr().err == ""  # no report of transformers' beside the one line


def test_truncated_weights(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "is truncated: 178,812 bytes, and its header describes 178,912" in refusal(
        lambda: load_model(model, device="cpu")
    )


def test_weights_that_are_not_used_are_said(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit_config(model, num_hidden_layers=1)
    with caplog.at_level(logging.WARNING):
        load_model(model, device="cpu")
    assert "9 weights of the files are not used, the first is model.layers.1.input_layernorm.weight" in caplog.text


def test_a_model_without_causal_head_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=60, **sizes)).save_pretrained(tmp_path)
    assert "architecture BertModel has no causal language-model head" in refusal(lambda: load_model(tmp_path))
    edit_config(tmp_path, architectures=None)  # nothing declared: its head would be made up at random
    assert "weights are missing, the first is cls.predictions" in refusal(lambda: load_model(tmp_path, device="cpu"))


def test_a_bare_decoder_is_refused(model: Path) -> None:
    edit_config(model, architectures=["LlamaModel"])
    assert "architecture LlamaModel has no causal" in refusal(lambda: load_model(model))


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"model_type": "nonesuch"}', '{"model_type": "llama", "vocab_size": "many"}']
)
def test_bad_configs(model: Path, text: str) -> None:
    (model / "config.json").write_text(text)
    message = refusal(lambda: load_config(model))
    assert message.startswith(f"model {model}: its config.json cannot be used (")


def test_code_beside_a_model_is_never_run(model: Path, tmp_path: Path) -> None:
    (model / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    edit_config(model, model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    assert "custom code" in refusal(lambda: load_config(model))
    edit_config(model, model_type="llama")
    load_model(model, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_fingerprint_follows_content_not_place(model: Path, tmp_path: Path) -> None:
    before = files.fingerprint(model)
    moved = model.rename(tmp_path / "renamed")
    write_provenance(moved, {"id": "somewhere/else"})
    (moved / "README.md").write_text("notes")
    assert files.fingerprint(moved) == before

    def nudge(weights: dict[str, torch.Tensor]) -> None:
        weights["model.norm.weight"][3] += 1e-6

    edit_weights(moved, nudge)
    changed = files.fingerprint(moved)
    assert changed != before
    edit_config(moved, rms_norm_eps=1e-4)
    assert files.fingerprint(moved) not in (before, changed)


def test_model_id_is_never_a_machines_path(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert files.model_id(model) == "model"
    monkeypatch.chdir(model)
    assert files.model_id(".") == "model"
    snapshot = tmp_path / "hub" / "models--apple--DCLM-7B" / "snapshots" / "c85bfa168f999ce27e954808bc005a2748fda5c5"
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(model, snapshot)
    assert files.model_id(snapshot) == "apple/DCLM-7B"
    write_provenance(model, {"id": "owner/name@revision"})
    assert files.model_id(model) == "owner/name@revision"


def test_tokenizer_is_fast_and_hashed_by_content(model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(model)
    assert tokenizer.is_fast
    text = "The river carried small boats."
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    before = files.tokenizer_sha256(model)
    edit_weights(model, lambda w: w["lm_head.weight"].zero_())
    assert files.tokenizer_sha256(model) == before
    assert files.tokenizer_sha256(model.rename(tmp_path / "renamed")) == before
    file = tmp_path / "renamed" / "tokenizer.json"
    file.write_text(file.read_text().replace('"<s>"', '"<t>"'))
    assert files.tokenizer_sha256(tmp_path / "renamed") != before


def test_tokenizer_settings_without_vocabulary_are_no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    assert "no tokenizer (none of tokenizer.json" in refusal(lambda: load_tokenizer(model))


def test_a_broken_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").write_text('{"model": {}}')
    assert "its tokenizer cannot be loaded (" in refusal(lambda: load_tokenizer(model))


def test_raw_config(model: Path) -> None:
    assert files.read_raw_config(model)["model_type"] == "llama"
    (model / "config.json").write_text("{")
    assert "config.json: cannot be read as JSON" in refusal(lambda: files.read_raw_config(model))


def test_same_seed_same_weights_without_touching_the_global_generator(model: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    load_model(model, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["gpu", "cudax", "cuda:", "cuda:one", "mps:0", ""])
def test_unknown_devices(name: str) -> None:
    assert "unknown device; use cpu, cuda, cuda:N, mps or auto" in refusal(lambda: choose_device(name))


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        assert "PyTorch finds no usable GPU" in refusal(lambda: choose_device("cuda"))
    else:
        assert "numbered from 0" in refusal(lambda: choose_device("cuda:999"))


def test_saved_config_of_the_fixture_is_what_the_tests_assume(tiny_model_dir: Path) -> None:
    config = load_config(tiny_model_dir)
    assert isinstance(config, LlamaConfig)
    assert (config.num_hidden_layers, config.intermediate_size) == (2, 64)
