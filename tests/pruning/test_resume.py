"""Killed runs: the same command goes on and ends with the same bytes."""

import math
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pytest
import torch
from one_thread import on_one_thread
from pruning_calls import prune

from calibrant.pruning.masks.mask_file import weights_path
from calibrant.pruning.run import model_pruning, partial


class Killed(Exception):  # noqa: N818
    """Stands for a kill at one place."""


@pytest.mark.parametrize(
    ("method", "sparsity", "options"),
    [
        ("wanda", "0.5", {}),
        ("wanda", "0.5", {"sequential": "dense"}),
        ("owl", "0.5", {}),
        ("sparsegpt", "2:4", {}),
        ("sparsegpt", "0.5", {"sequential": "sublayer"}),
        ("magnitude", "0.5", {}),
        ("gptq", "w3g8", {"gptq.act_order": "true"}),
        ("awq", "w3g8", {}),
        ("awq", "w3g8", {"sequential": "dense"}),
        ("sparsegpt", "0.5+w4", {}),
    ],
)
@pytest.mark.parametrize("save_every", [0.0, 1e9])
def test_stopped_at_every_layer(
    method: str,
    sparsity: str,
    options: dict[str, str],
    save_every: float,
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With activations saved at every layer, and with none saved (finished layers are run forward again)."""
    monkeypatch.setattr(partial, "SAVE_EVERY", save_every)
    monkeypatch.setattr(partial, "SAVE_SHARE", math.inf)

    def run(output: Path) -> None:
        prune(tiny_model_dir, tiny_calibration, method, sparsity, options, output=output, device="cpu", progress=False)

    run(tmp_path / "whole.safetensors")
    original = model_pruning.prune_layer
    for stop in (0, 1):
        output = tmp_path / f"stopped-{stop}.safetensors"

        def stopping(layer, *args, stop=stop, **kwargs):  # type: ignore[no-untyped-def]
            if layer.index == stop:
                raise Killed
            return original(layer, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(model_pruning, "prune_layer", stopping)
            with pytest.raises(Killed):
                run(output)
        assert not output.exists()
        assert output.with_name(output.name + ".partial").is_dir()
        run(output)
        assert output.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
        if method == "sparsegpt":
            assert weights_path(output).read_bytes() == weights_path(tmp_path / "whole.safetensors").read_bytes()
        assert not output.with_name(output.name + ".partial").exists()


def test_work_of_other_settings_is_not_used(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(output: Path, sparsity: str) -> None:
        prune(tiny_model_dir, tiny_calibration, "wanda", sparsity, output=output, device="cpu", progress=False)

    run(tmp_path / "expected.safetensors", "0.7")

    def stopping(*args: object, **kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(model_pruning, "join_layers", stopping)
        with pytest.raises(Killed):
            run(tmp_path / "masks.safetensors", "0.5")
    run(tmp_path / "masks.safetensors", "0.7")
    assert (tmp_path / "masks.safetensors").read_bytes() == (tmp_path / "expected.safetensors").read_bytes()


def test_kill_9_at_random_moments(tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path) -> None:
    # Forked by a server that has the imports paid and no threads: a fork of this process, which has, may hang.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["calibrant.stages.pruning"])

    def start(output: Path) -> multiprocessing.context.ForkServerProcess:
        process = context.Process(
            target=_prune_owl, args=(tiny_model_dir, tiny_calibration, output, torch.get_num_threads())
        )
        process.start()
        return process

    def end(output: Path) -> float:
        began = time.monotonic()
        process = start(output)
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - began

    end(tmp_path / "imports.safetensors")
    duration = end(tmp_path / "whole.safetensors")
    output = tmp_path / "killed.safetensors"
    for seed in range(5):
        running = start(output)
        time.sleep(random.Random(seed).uniform(0.1, 0.9) * duration)
        running.kill()
        running.join()
    end(output)
    assert output.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def _prune_owl(model: Path, calibration: Path, output: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    prune(model, calibration, "owl", "0.5", output=output, device="cpu", progress=False)


@pytest.mark.parametrize(
    "spoiled", ["layer-0000", "layer-0001", "layer-0000.weights", "layer-0001.weights", "hidden-0001", "allocation"]
)
@pytest.mark.parametrize("how", ["one bit", "garbage", "missing"])
def test_finished_work_that_was_damaged_is_made_again(
    spoiled: str,
    how: str,
    killed_at_the_end: Path,
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path: Path,
) -> None:
    whole = killed_at_the_end.parent / "whole.safetensors"
    output = tmp_path / "masks.safetensors"
    folder = output.with_name(output.name + ".partial")
    shutil.copytree(killed_at_the_end, folder)
    (file,) = [path for path in folder.iterdir() if path.stem == spoiled]
    data = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        place = len(data) - 9 if file.suffix == ".safetensors" else data.index(b'"value"') + 15
        turned = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        file.write_bytes({"one bit": turned, "garbage": b"garbage"}[how])
    prune(tiny_model_dir, tiny_calibration, *OWL_BY_SPARSEGPT, output=output, device="cpu", progress=False)
    assert output.read_bytes() == whole.read_bytes()
    assert weights_path(output).read_bytes() == weights_path(whole).read_bytes()


OWL_BY_SPARSEGPT: tuple[str, str, dict[str, str]] = ("owl", "0.5", {"owl.criterion": "sparsegpt"})


@pytest.fixture(scope="module")
def killed_at_the_end(tiny_model_dir: Path, tiny_calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed before it joined its layers; beside it what it would have written."""
    folder = tmp_path_factory.mktemp("killed")

    def run(name: str) -> None:
        prune(
            *(tiny_model_dir, tiny_calibration, *OWL_BY_SPARSEGPT),
            output=folder / name,
            device="cpu",
            progress=False,
        )

    def stopping(*args: object, **kwargs: object) -> None:
        raise Killed

    with on_one_thread(), pytest.MonkeyPatch.context() as patch:
        run("whole.safetensors")
        patch.setattr(partial, "SAVE_EVERY", 0.0)
        patch.setattr(partial, "SAVE_SHARE", math.inf)
        patch.setattr(model_pruning, "join_layers", stopping)
        with pytest.raises(Killed):
            run("masks.safetensors")
    return folder / "masks.safetensors.partial"
