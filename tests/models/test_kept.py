"""A model that is kept for a process's children: what a stage would open itself, to the bit, and only while it is."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from calibrant.models.checkpoint import keeping
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.kept import keep, kept_with
from calibrant.models.checkpoint.loading import load_model, load_tokenizer, load_weights
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.decoders.decoder_choice import fast_decoder
from calibrant.stages.kept_model import Wanted, keep_model, what_to_keep

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a model, which nothing is kept of before and after."""
    for name in keeping.QUIET:
        monkeypatch.setenv(name, "")  # so that it is put back
    threads = torch.get_num_threads()
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    yield tmp_path / "model"
    keep(None)
    torch.set_num_threads(threads)


def wanted(model: Path, stage: str = "evaluate", *more: str) -> Wanted:
    found = what_to_keep([stage, "--masks", "x", "--model", str(model), *more], Path.cwd())
    assert found is not None
    return found


def test_what_is_taken_is_what_would_be_made(model: Path) -> None:
    plain = open_checkpoint(model)
    expected = load_weights(plain, torch.float32).state_dict()
    assert keep_model(wanted(model))
    checkpoint = open_checkpoint(str(model))
    assert checkpoint is open_checkpoint(model) is not plain
    assert (checkpoint.sha256, checkpoint.id) == (plain.sha256, plain.id)
    kept = kept_with(checkpoint)
    assert kept is not None
    mine = kept.networks[torch.float32]
    network = load_model(checkpoint, device="cpu")
    assert network is mine
    assert network.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    assert fast_decoder(network) is fast_decoder(network)
    assert load_tokenizer(checkpoint) is kept.tokenizer
    assert load_model(checkpoint, device="cpu") is not network, "it may have been changed"


def test_a_decoder_is_checked_anew_when_weights_have_changed(model: Path) -> None:
    network = load_model(model, device="cpu")
    first = fast_decoder(network)
    with torch.no_grad():
        network.get_output_embeddings().weight.mul_(2)
    assert fast_decoder(network) is not first


def test_a_model_that_transformers_runs_is_kept_too(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And each job says that it does."""
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "strange_key": 1}))
    assert keep_model(wanted(model))
    assert caplog.text == ""
    assert fast_decoder(load_model(open_checkpoint(model), device="cpu")) is None
    assert "its configuration has a key strange_key" in caplog.text


def test_a_job_that_reads_layers_takes_the_empty_model(model: Path) -> None:
    assert keep_model(wanted(model, "prune"))
    checkpoint = open_checkpoint(model)
    kept = kept_with(checkpoint)
    assert kept is not None
    assert not kept.networks
    empty = kept.empty[torch.float32]
    assert StreamedModel(checkpoint, torch.float32, CPU).model is empty
    again = StreamedModel(checkpoint, torch.float32, CPU).model
    assert again is not empty
    assert all(parameter.is_meta for parameter in again.parameters())


def test_another_number_format_is_loaded_anew(model: Path) -> None:
    assert keep_model(wanted(model))
    network = load_model(open_checkpoint(model), dtype="bfloat16", device="cpu")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("change", ["touched", "written anew", "another file"])
def test_a_changed_file_is_opened_anew(model: Path, change: str) -> None:
    assert keep_model(wanted(model))
    known = open_checkpoint(model)
    weights = model / "model.safetensors"
    if change == "touched":
        os.utime(weights, ns=(weights.stat().st_atime_ns, weights.stat().st_mtime_ns))
    elif change == "written anew":
        weights.write_bytes(weights.read_bytes())
    else:
        (model / "added_tokens.json").write_text("{}")
    assert open_checkpoint(model) is not known


def test_another_name_or_folder_is_opened_by_itself(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    assert keep_model(wanted(Path("model")))
    known = open_checkpoint("model")
    assert open_checkpoint("model") is known
    assert open_checkpoint(model) is not known
    monkeypatch.chdir(model)
    assert open_checkpoint(model) is not known


def test_a_model_of_more_than_an_eighth_of_the_memory_is_not_kept(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (
        2 * 4 * sum(parameter.numel() for parameter in load_weights(open_checkpoint(model), torch.float32).parameters())
    )
    for memory, kept in ((8 * size - 1, False), (8 * size, True), (None, False)):
        monkeypatch.setattr(keeping, "all_memory", lambda memory=memory: memory)
        assert keep_model(wanted(model)) is kept


def test_a_model_that_a_job_would_say_something_of_is_not_kept(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((model / "config.json").read_text())
    for odd in ({**config, "num_hidden_layers": 1}, {**config, "model_type": "no such"}, {}):
        (model / "config.json").write_text(json.dumps(odd))
        assert not keep_model(wanted(model))
    assert capfd.readouterr().err == ""


def test_words_that_are_no_job_with_a_model_keep_nothing(model: Path, tmp_path: Path) -> None:
    for words in (
        [],
        ["--version"],
        ["sample", "--model", str(model)],
        ["prune"],
        ["prune", "--model"],
        ["prune", "--model", "owner/name"],
        ["prune", "--model", str(tmp_path / "absent")],
        ["prune", "--model", str(model), "--device", "cuda"],
        ["prune", "--model", str(model), "--resolved", "absent.json"],
    ):
        assert what_to_keep(words, tmp_path) is None


def test_jobs_share_by_what_they_read_and_where(model: Path, tmp_path: Path) -> None:
    assert wanted(model) == wanted(model, "score", "--threads", "2")
    assert wanted(model) != wanted(model, "prune")
    assert wanted(model) != wanted(model, "evaluate", "--dtype", "bfloat16")
    before = wanted(model)
    (model / "config.json").write_bytes((model / "config.json").read_bytes())
    assert wanted(model) != before
