"""Layers that are read ahead are the layers that are read when needed; at most one waits."""

from pathlib import Path

import pytest
import torch

from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.structure.decoder_layers import find_decoder_layers
from calibrant.pruning.run import layer_steps as walking
from calibrant.pruning.run.partial import Partial

CPU = torch.device("cpu")


def parameters(streamed: StreamedModel, prefix: str) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in streamed.model.named_parameters() if n.startswith(prefix)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_weights_as_when_read_on_demand(tiny_model_dir: Path, dtype: torch.dtype) -> None:
    plain = StreamedModel(open_checkpoint(tiny_model_dir), dtype, CPU)
    ahead = StreamedModel(open_checkpoint(tiny_model_dir), dtype, CPU, read_ahead=True)
    prefixes = [layer.name + "." for layer in find_decoder_layers(plain.model)]
    assert len(prefixes) > 1
    for position, prefix in enumerate(prefixes):
        for streamed in (plain, ahead):
            streamed.load(prefix)
            for following in prefixes[position + 1 : position + 2]:
                streamed.prefetch(following)
        expected, found = parameters(plain, prefix), parameters(ahead, prefix)
        assert expected
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        plain.release(prefix)
        ahead.release(prefix)


def test_another_prefix_than_expected_is_read_all_the_same(tiny_model_dir: Path) -> None:
    plain = StreamedModel(open_checkpoint(tiny_model_dir), torch.float32, CPU)
    ahead = StreamedModel(open_checkpoint(tiny_model_dir), torch.float32, CPU, read_ahead=True)
    first, second = (layer.name + "." for layer in find_decoder_layers(plain.model)[:2])
    ahead.prefetch(second)
    ahead.load(first)
    plain.load(first)
    expected, found = parameters(plain, first), parameters(ahead, first)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_cpu_reads_nothing_ahead_by_itself(tiny_model_dir: Path) -> None:
    streamed = StreamedModel(open_checkpoint(tiny_model_dir), torch.float32, CPU)
    streamed.prefetch(find_decoder_layers(streamed.model)[1].name + ".")
    assert streamed._ahead is None


def test_a_file_that_cannot_be_read_is_reported_by_load(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = StreamedModel(open_checkpoint(tiny_model_dir), torch.float32, CPU, read_ahead=True)
    prefix = find_decoder_layers(streamed.model)[0].name + "."
    monkeypatch.setattr(streamed, "shards", dict.fromkeys(streamed.shards, tiny_model_dir / "gone.safetensors"))
    streamed.prefetch(prefix)  # nothing is raised here
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
        streamed.load(prefix)


def test_walking_reads_each_layer_ahead_once(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed = StreamedModel(open_checkpoint(tiny_model_dir), torch.float32, CPU, read_ahead=True)
    layers = find_decoder_layers(streamed.model)
    asked: list[str] = []
    original = streamed.prefetch
    monkeypatch.setattr(streamed, "prefetch", lambda prefix: (asked.append(prefix), original(prefix)))
    partial = Partial(tmp_path / "masks.safetensors", {"of": "a test"})
    for step in walking.walk(streamed, layers, None, partial, lambda file: False, "test", progress=False):
        loaded = {n for n, p in streamed.model.named_parameters() if not p.is_meta}
        assert loaded
        assert all(name.startswith(step.layer.name + ".") for name in loaded)
    assert asked == [layer.name + "." for layer in layers[1:]]
