"""Model folders of others that say unusual things of themselves: they work, or are one line in every stage."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from support import make_text

import calibrant as cal
from calibrant.calibration.first_token import first_token
from calibrant.calibration.sample_set import read_samples
from calibrant.calibration.tokens import special_ids
from calibrant.errors import InputError
from calibrant.generation.engines.transformers_stepper import TransformersStepper
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_tokenizer

Copy = Callable[[], Path]
SMALL = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2}
MAMBA = {**SMALL, "state_size": 4}
STATEFUL = {
    "mamba": lambda: tf.MambaForCausalLM(tf.MambaConfig(**MAMBA)),
    "falcon_mamba": lambda: tf.FalconMambaForCausalLM(tf.FalconMambaConfig(**MAMBA)),
    "mamba2": lambda: tf.Mamba2ForCausalLM(tf.Mamba2Config(**MAMBA, num_heads=4, head_dim=8, n_groups=2)),
    "jamba": lambda: tf.JambaForCausalLM(
        tf.JambaConfig(
            **SMALL,
            intermediate_size=24,
            num_attention_heads=2,
            num_key_value_heads=2,
            attn_layer_period=2,
            attn_layer_offset=1,
            num_experts=2,
            use_mamba_kernels=False,
            mamba_d_state=4,
        )
    ),
}


@pytest.fixture
def copy(tiny_model_dir: Path, tmp_path: Path) -> Copy:
    return lambda: Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("\n\n".join(make_text(60, seed) for seed in range(4)))
    return tmp_path / "text.txt"


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(model: Path, file: str, **changes: Any) -> None:
    path = model / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


@pytest.mark.parametrize("family", STATEFUL)
@torch.inference_mode()
def test_models_with_a_state_are_stepped_as_they_read_whole_rows(family: str) -> None:
    """Also after rows have left: keys, values and states of the others stay."""
    torch.manual_seed(0)
    model = STATEFUL[family]().eval()
    ids = torch.randint(3, 50, (3, 7))
    whole = model(ids).logits
    stepper = TransformersStepper(model)
    assert stepper.row_bytes(20) > 0
    found = [stepper.prefill(ids[:, :4]), stepper.step(ids[:, 4])]
    torch.testing.assert_close(torch.stack(found, 1), whole[:, 3:5], atol=1e-5, rtol=1e-4)
    rest = torch.tensor([0, 2])
    stepper.keep(rest)
    found = [stepper.step(ids[rest, at]) for at in (5, 6)]
    torch.testing.assert_close(torch.stack(found, 1), whole[rest, 5:], atol=1e-5, rtol=1e-4)


def test_a_state_takes_the_same_room_in_rows_of_any_length() -> None:
    stepper = TransformersStepper(STATEFUL["mamba"]())
    assert stepper.row_bytes(10) == stepper.row_bytes(1000) > 0


def test_models_that_keep_their_state_in_another_way_are_one_line() -> None:
    rwkv = tf.RwkvForCausalLM(tf.RwkvConfig(**SMALL, attention_hidden_size=16))
    assert "type rwkv cannot be read token by token" in refusal(lambda: TransformersStepper(rwkv))


def test_special_tokens_beyond_the_models_are_never_drawn(copy: Copy, corpus: Path, tmp_path: Path) -> None:
    """As a `[PAD]` that was added without a row in the embeddings."""
    model = copy()
    tokenizer = load_tokenizer(model)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(model)
    assert max(special_ids(load_tokenizer(model))) == open_checkpoint(model).vocabulary
    for engine in ("native", "transformers"):
        settings = cal.GenerateSettings(samples=2, length=12, quiet=True, engine=engine, device="cpu")
        cal.generate(corpus, model, tmp_path / f"{engine}.parquet", settings)
        rows = read_samples(tmp_path / f"{engine}.parquet").sequences
        assert all(token < 400 for row in rows for token in row)


def test_a_first_token_beyond_the_models_is_one_line(copy: Copy, corpus: Path, tmp_path: Path) -> None:
    model = copy()
    tokenizer = load_tokenizer(model)
    tokenizer.add_special_tokens({"bos_token": "[START]"})
    tokenizer.save_pretrained(model)
    wanted = "beginning-of-text token has the id 400, and the model knows 400 ids"
    short: dict[str, Any] = {"samples": 2, "length": 16}
    sample = tmp_path / "s.parquet"
    assert wanted in refusal(lambda: cal.sample(corpus, model, sample, cal.SampleSettings(**short, bos="always")))
    cal.sample(corpus, model, sample, cal.SampleSettings(**short))
    scores = tmp_path / "scores.parquet"
    assert wanted in refusal(lambda: cal.score(sample, model, scores, cal.ScoreSettings(bos="always")))
    for more in ({"bos": "always"}, {"prefix_length": 0}):
        settings = cal.GenerateSettings(**short, **more)
        assert wanted in refusal(lambda s=settings: cal.generate(corpus, model, tmp_path / "g.parquet", s))
    texts, evaluation = [f"t={corpus}"], cal.EvaluateSettings(bos="always", length=16)
    assert wanted in refusal(lambda: cal.evaluate(model, tmp_path / "e.json", evaluation, texts=texts))
    assert first_token(load_tokenizer(model), "never", 400) is None


@pytest.mark.parametrize("said", ["\ud83d", "a\0b", {"a": 1}, 7])
def test_what_a_folder_calls_itself_is_text(copy: Copy, said: Any) -> None:
    model = copy()
    edit(model, "provenance.json", id=said)
    assert "provenance.json: id" in refusal(lambda: open_checkpoint(model).id)


def test_a_folder_whose_name_is_no_text(tiny_model_dir: Path, corpus: Path, tmp_path: Path) -> None:
    model = tmp_path / os.fsdecode(b"n\xff")
    shutil.copytree(tiny_model_dir, model)
    message = refusal(lambda: open_checkpoint(model))
    assert "holds a character that is no text" in message
    settings = cal.PruneSettings(method="magnitude", sparsity="0.5")
    assert refusal(lambda: cal.prune(model, None, tmp_path / "m.safetensors", settings, progress=False)) == message
    (tmp_path / "link").symlink_to(model)
    assert "the name of its folder" in refusal(lambda: open_checkpoint(tmp_path / "link").id)


def test_weights_whose_name_is_no_text(copy: Copy) -> None:
    model = copy()
    (model / "model.safetensors").rename(model / os.fsdecode(b"\xff.safetensors"))
    edit(model, "model.safetensors.index.json", weight_map={"a": "\udcff.safetensors"})
    assert "no text" in refusal(lambda: open_checkpoint(model).weight_files)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text_config": {"a": 1}},
        {"text_config": 5},
        {"decoder": {"a": 1}},
        {"generator": "x", "text_encoder": {}},
        {"get_text_config": 1},
        {"to_dict": {}},
        {"attribute_map": {"vocab_size": "sizes"}},
        {"sub_configs": {"a": 1}},
    ],
    ids=str,
)
def test_keys_in_place_of_parts_and_methods(copy: Copy, wrong: dict[str, Any]) -> None:
    model = copy()
    edit(model, "config.json", **wrong)
    message = refusal(lambda: open_checkpoint(model))
    assert str(model) in message
    assert "config.json" in message


@pytest.mark.parametrize(
    "said",
    [
        {"return_dict": False},
        {
            "output_attentions": True,
            "output_hidden_states": True,
            "torchscript": True,
            "is_decoder": True,
            "use_cache": False,
        },
        {"return_dict": None, "output_router_logits": True, "is_decoder": False},
    ],
    ids=str,
)
def test_what_a_call_returns_is_the_callers_choice(
    tiny_model_dir: Path, copy: Copy, corpus: Path, tmp_path: Path, said: dict[str, Any]
) -> None:
    """Every stage gives what it gives for the model without these keys."""
    model = copy()
    edit(model, "config.json", **said)
    found = []
    for index, each in enumerate((tiny_model_dir, model)):
        out = tmp_path / str(index)
        rows, scores = out / "s.parquet", out / "scores.parquet"
        cal.sample(corpus, each, rows, cal.SampleSettings(samples=2, length=16))
        cal.score(rows, each, scores, cal.ScoreSettings())
        settings = cal.PruneSettings(method="wanda", sparsity="0.5", device="cpu")
        cal.prune(each, rows, out / "m.safetensors", settings, progress=False)
        for engine in ("native", "transformers"):
            wanted = cal.GenerateSettings(samples=2, length=12, quiet=True, engine=engine, device="cpu")
            cal.generate(corpus, each, out / f"{engine}.parquet", wanted)
        evaluation = cal.EvaluateSettings(length=16, device="cpu")
        (evaluated,) = cal.evaluate(each, out / "e.json", evaluation, texts=[f"t={corpus}"])
        generated = [read_samples(out / f"{engine}.parquet").sequences for engine in ("native", "transformers")]
        found.append(([row["value"] for row in evaluated], generated))
    assert found[0] == found[1]


def test_call_options_of_parts_too(tmp_path: Path) -> None:
    tf.Gemma3Config(text_config={"return_dict": False}, return_dict=False).save_pretrained(tmp_path)
    edit(tmp_path, "config.json", return_dict=False)
    config = load_config(tmp_path)
    assert config.return_dict
    assert config.text_config.return_dict
