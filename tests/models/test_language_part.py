"""Checkpoints that take images, on text alone: every stage gives what their own class gives, or one line."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from image_text_models import PROCESSOR, edit_config, own_class, write_image_text_model
from safetensors.torch import load_file, save_file
from support import make_text

import calibrant as cal
from calibrant.artefacts.parquet import read_table
from calibrant.calibration.sample_set import read_samples
from calibrant.calibration.tokens import encode, special_ids
from calibrant.errors import InputError
from calibrant.evaluation.likelihood.request_tree import Request
from calibrant.evaluation.likelihood.tree_scorer import Scorer, why_not_tree
from calibrant.generation.engines.transformers_stepper import TransformersStepper
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.checkpoint_files import companion_files
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.structure.output_head import output_head
from calibrant.stages.choose_plan import positions
from calibrant.study.shapes import shape_of_config

TEXTS = [make_text(60, seed) for seed in range(6)]


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model_dir(kind: str, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_text_model(kind, tmp_path_factory.mktemp("models") / kind, tiny_model_dir)


@pytest.fixture(scope="module")
def own(kind: str, model_dir: Path) -> Any:
    return own_class(kind).from_pretrained(model_dir, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "tales.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


def losses(model: Any, row: list[int], start: int = 1) -> list[float]:
    """Negative log-likelihood of each token of a row from its start on, by transformers alone."""
    with torch.inference_mode():
        logs = torch.log_softmax(model(input_ids=torch.tensor([row])).logits[0].double(), -1)
    return [-float(logs[place - 1, row[place]]) for place in range(start, len(row))]


def perplexity(values: list[float]) -> float:
    return math.exp(sum(values) / len(values))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_loaded_is_the_class_without_its_tower(model_dir: Path, own: Any) -> None:
    loaded: Any = load_model(model_dir, device="cpu")
    assert (type(loaded).__name__, type(loaded).__module__) == (type(own).__name__, type(own).__module__)
    assert loaded.get_decoder() is loaded.model.language_model
    assert output_head(loaded) is loaded.lm_head
    kept = dict(loaded.named_parameters())
    everything = dict(own.named_parameters())
    left = {name.split(".")[1] for name in everything.keys() - kept.keys()}
    assert left == {"vision_tower"} or left == {"visual"}
    assert all(torch.equal(parameter, everything[name]) for name, parameter in kept.items())
    with torch.inference_mode():
        ids = torch.randint(3, 390, (2, 30), generator=torch.Generator().manual_seed(0))
        assert torch.equal(loaded(input_ids=ids).logits, own(input_ids=ids).logits)


def test_generated_rows_are_a_plain_loop_over_the_class(
    model_dir: Path, own: Any, corpus: Path, tmp_path: Path
) -> None:
    greedy = {"top_k": 1, "repetition_penalty": 1.0, "samples": 3, "length": 16, "prefix_length": 3}
    settings = cal.GenerateSettings(**greedy, quiet=True, engine="transformers", device="cpu")
    cal.generate(corpus, model_dir, tmp_path / "g.parquet", settings)
    tokenizer = load_tokenizer(model_dir)
    suppressed = special_ids(tokenizer)
    for row in read_samples(tmp_path / "g.parquet").table.to_pylist():
        (start,) = encode(tokenizer, [TEXTS[int(name)] for name in row["doc_ids"]])
        ids = start[:3]
        while len(ids) < 16:
            with torch.inference_mode():
                logits = own(input_ids=torch.tensor([ids])).logits[0, -1].clone()
                logits[suppressed] = -torch.inf
            ids.append(int(logits.argmax()))
        assert row["input_ids"] == ids


@torch.inference_mode()
def test_rows_are_stepped_as_whole_rows_are_read(model_dir: Path, own: Any) -> None:
    """Also after rows have left, and anew."""
    stepper = TransformersStepper(load_model(model_dir, device="cpu"))
    ids = torch.randint(3, 390, (3, 9), generator=torch.Generator().manual_seed(1))
    whole = own(input_ids=ids).logits
    for _ in range(2):
        stepper.reset(3, 9)
        assert stepper.row_bytes(9) == 2 * 2 * 2 * 2 * 4 * 9 * 4  # twice keys and values: 2 layers, 2 heads of 4 floats
        found = [stepper.prefill(ids[:, :6]), stepper.step(ids[:, 6])]
        torch.testing.assert_close(torch.stack(found, 1), whole[:, 5:7])
        rest = torch.tensor([0, 2])
        stepper.keep(rest)
        torch.testing.assert_close(stepper.step(ids[rest, 7]), whole[rest, 7])


def test_scores_and_perplexities_are_plain_loops_over_the_class(
    model_dir: Path, own: Any, corpus: Path, tmp_path: Path
) -> None:
    samples, scores = tmp_path / "s.parquet", tmp_path / "scores.parquet"
    cal.sample(corpus, model_dir, samples, cal.SampleSettings(samples=3, length=20))
    cal.score(samples, model_dir, scores, cal.ScoreSettings(device="cpu"))
    rows = read_samples(samples).sequences
    expected = [perplexity(losses(own, list(row))) for row in rows]
    assert read_table(scores)[0]["perplexity"].to_pylist() == pytest.approx(expected, rel=1e-4)
    cal.filter(samples, tmp_path / "f.parquet", cal.FilterSettings(drop=0.4), scores=scores)
    assert len(read_samples(tmp_path / "f.parquet")) == 2

    settings = cal.EvaluateSettings(device="cpu", length=25)
    (results,) = cal.evaluate(model_dir, tmp_path / "e.json", settings, texts=[f"t={corpus}"])
    (tokens,) = encode(load_tokenizer(model_dir), ["\n\n".join(TEXTS)])
    values = [value for at in range(0, len(tokens), 25) for value in losses(own, tokens[at : at + 25])]
    assert results[0]["value"] == pytest.approx(perplexity(values), rel=1e-4)


def test_trees_of_choices_have_the_positions_of_plain_text(model_dir: Path, own: Any) -> None:
    loaded = load_model(model_dir, device="cpu")
    assert why_not_tree(loaded) is None
    context, choices = list(range(20, 50)), [[60, 61, 62], [63], [60, 61, 70, 71]]
    requests = [Request((context + choice)[:-1], choice) for choice in choices]
    (found,) = Scorer(loaded).score([requests])
    expected = [-sum(losses(own, context + choice, len(context))) for choice in choices]
    assert [value for value, _ in found] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("part", "wrong", "said"),
    [
        (None, {"vision_config": 5}, "Field 'vision_config' with value 5"),
        (None, {"text_config": 5}, "Field 'text_config' with value 5"),
        ("vision_config", {"hidden_size": "wide"}, "Field 'hidden_size' expected int"),
        ("vision_config", {"hidden_size": 64}, "weight multi_modal_projector.linear_1.weight has shape [16, 32]; its"),
        (
            "vision_config",
            {"intermediate_size": 80},
            "weight vision_tower.encoder.layers.0.mlp.fc1.bias has shape [64]",
        ),
        ("vision_config", {"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000, but the weights are"),
        ("vision_config", {"model_type": "nonsense"}, "Unrecognized model type for subconfig: nonsense"),
        ("text_config", {"num_hidden_layers": -1}, "num_hidden_layers -1; must be a whole number of 1 or more"),
        ("text_config", {"num_hidden_layers": 3}, "9 weights are missing, the first is model.language_model.layers.2"),
        ("text_config", {"model_type": "t5"}, "has no causal language model; it writes from an encoder's states"),
        ("text_config", {"model_type": "bert"}, "weights are missing"),
        ("text_config", {"dtype": "int8"}, "has dtype int8; must be a floating-point number format"),
    ],
    ids=str,
)
def test_nonsense_in_a_part_is_one_line(
    part: str | None, wrong: dict[str, Any], said: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    model = write_image_text_model("llava", tmp_path / "model", tiny_model_dir)
    edit_config(model, part, **wrong)
    message = refusal(lambda: open_checkpoint(model).check_weights())
    assert message.startswith(f"model {model}: ")
    assert said in message
    assert len(message) < 700


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("blip-2", "cannot be run on text alone (TypeError: Blip2ForConditionalGeneration.forward() missing"),
        ("florence2", "a model of type florence2 has no causal language model; it writes from an encoder's states"),
        ("paligemma", "a model of type paligemma has no causal language model; it reads text in both directions"),
    ],
)
def test_families_that_need_more_than_text(
    kind: str, said: str, tiny_model_dir: Path, corpus: Path, tmp_path: Path
) -> None:
    model = write_image_text_model(kind, tmp_path / kind, tiny_model_dir)
    out = tmp_path / "out.json"
    evaluation, generation = cal.EvaluateSettings(device="cpu"), cal.GenerateSettings(samples=1, length=8, device="cpu")
    assert said in refusal(lambda: cal.evaluate(model, out, evaluation, texts=[f"t={corpus}"]))
    assert said in refusal(lambda: cal.generate(corpus, model, tmp_path / "g.parquet", generation))


def test_a_model_that_skips_layers_on_text_is_run_without_them(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Of Mllama those that look at images; it is pruned by no calibration text."""
    model = write_image_text_model("mllama", tmp_path / "model", tiny_model_dir)
    ids = torch.arange(3, 20)[None]
    with torch.inference_mode():
        expected = own_class("mllama").from_pretrained(model).eval()(input_ids=ids).logits
        assert torch.equal(load_model(model, device="cpu")(input_ids=ids).logits, expected)


def test_a_tower_may_lack_weights_and_the_language_model_may_not(
    kind: str, model_dir: Path, own: Any, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(model_dir, tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    name = next(key for key in weights if key.startswith("vis") and key.endswith("weight"))
    save_file({k: v for k, v in weights.items() if k != name}, model / "model.safetensors", {"format": "pt"})
    ids = torch.arange(3, 20)[None]
    with torch.inference_mode():
        logits = load_model(model, device="cpu")(input_ids=ids).logits
        assert torch.equal(logits, own(input_ids=ids).logits)
    name = next(key for key in weights if key.endswith("down_proj.weight") and "layers.1." in key)
    save_file({k: v for k, v in weights.items() if k != name}, model / "model.safetensors", {"format": "pt"})
    said = "1 weights are missing, the first is model.language_model.layers.1.mlp.down_proj.weight"
    assert said in refusal(lambda: load_model(model, device="cpu"))


def test_the_number_format_may_stand_in_the_text_part(model_dir: Path, tmp_path: Path) -> None:
    """As Qwen3-VL has it."""
    model = Path(shutil.copytree(model_dir, tmp_path / "model"))
    edit_config(model, None, dtype=None)
    edit_config(model, "text_config", dtype="bfloat16")
    assert open_checkpoint(model).dtype == torch.bfloat16


def test_files_of_a_processor_count_as_the_models_where_they_are_links(model_dir: Path, tmp_path: Path) -> None:
    """As in the hub's cache."""
    (tmp_path / "links").mkdir()
    for name in PROCESSOR:
        (tmp_path / "links" / name).symlink_to(model_dir / name)
    assert [file.name for file in companion_files(tmp_path / "links")] == sorted(PROCESSOR)


def test_the_shape_for_a_plan_is_the_text_parts(model_dir: Path) -> None:
    shape = shape_of_config(json.loads((model_dir / "config.json").read_text()))
    assert (shape.layers, shape.width, shape.inner, shape.keys, shape.vocabulary) == (2, 16, 24, 8, 400)
    short = {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}}  # LLaVA 1.5's
    shape = shape_of_config(short)
    assert (shape.layers, shape.width, shape.inner, shape.keys, shape.vocabulary) == (32, 4096, 11008, 4096, 32064)
    assert positions({**short, "text_config": {"max_position_embeddings": 4096}}) == 4096
    with pytest.raises(InputError, match="'hidden_size' is missing"):
        shape_of_config({"text_config": {"model_type": "nonsense", "vocab_size": 5}})
