"""Requests of jobs: what they grow with, and that they hold what the cost model reckons."""

from pathlib import Path
from typing import Any

import pytest

from calibrant.artefacts.atomic import write_json
from calibrant.errors import InputError
from calibrant.study.config import resolve_config
from calibrant.study.estimate import with_number_format
from calibrant.study.machines import machine, machines
from calibrant.study.resources import LIGHT, gpus, request, shape_for_requests
from calibrant.study.shapes import known_shape
from calibrant.study.stage_needs import STAGES, stage_needs


def config(preset: str = "dclm-7b", **compute: Any) -> dict[str, Any]:
    return resolve_config({"preset": preset, "experiment": "sources", "compute": compute})


LLAMA_13B = known_shape({"hub": "meta-llama/Llama-2-13b-hf"})
DCLM = known_shape({"hub": "apple/DCLM-7B"})


def test_gpus_are_asked_for_only_where_the_device_is_one() -> None:
    assert (
        gpus(config(device="cpu"))
        == gpus(config("smollm2-135m"))
        == gpus(config(device="auto"))
        == gpus(config(device="mps"))
        == 0
    )
    assert gpus(config(device="cuda")) == gpus(config()) == 1
    assert gpus(config(device="auto", gpus=1)) == 1
    assert gpus(config(device="cuda", gpus=4)) == 4


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_request_holds_what_the_cost_model_reckons_and_grows_with_attempts(stage: str, device: str) -> None:
    study = config(device=device)
    needs = stage_needs(stage, study, DCLM, machine("gpu" if device == "cuda" else "avx2").rates)
    first, second = (request(study, DCLM, stage, attempt=attempt) for attempt in (1, 2))
    assert first.mem_mb * 1e6 > needs.host
    assert first.runtime * 60 > needs.seconds
    assert (second.mem_mb, second.runtime, second.gpu) == (2 * first.mem_mb, 2 * first.runtime, first.gpu)
    larger = request(study, LLAMA_13B, stage)
    assert larger.runtime > first.runtime or stage == "inspect"  # a few seconds for either
    assert larger.mem_mb > first.mem_mb


def test_the_whole_model_needs_its_weights_and_pruning_does_not() -> None:
    weights = 2 * DCLM.parameters / 1e6
    for device in ("cpu", "cuda"):
        study = config(device=device)
        assert request(study, DCLM, "evaluate").mem_mb > weights
        assert request(study, DCLM, "prune", samples=128).mem_mb < weights
    assert request(config(), DCLM, "prune", samples=1024).mem_mb > request(config(), DCLM, "prune", samples=128).mem_mb


def test_stages_of_a_processor_ask_for_no_gpu_whatever_the_model() -> None:
    for stage in LIGHT:
        asked = request(config(device="cuda"), DCLM, stage)
        assert asked.gpu == 0
        assert asked == request(config(), LLAMA_13B, stage)
    with pytest.raises(InputError, match=r"stage dig: .* allowed: generate, "):
        request(config(), DCLM, "dig")


def test_requests_hold_for_the_slowest_processor_and_the_largest_format_that_auto_may_be() -> None:
    study = {dtype: config("smollm2-135m", dtype=dtype) for dtype in ("auto", "float32", "bfloat16")}
    shape = known_shape(study["auto"]["model"])
    for stage in STAGES:
        asked = {dtype: request(given, shape, stage) for dtype, given in study.items()}
        assert asked["auto"] == asked["float32"]
        assert asked["auto"].mem_mb > asked["bfloat16"].mem_mb
        for name in machines():
            needs = stage_needs(
                stage, with_number_format(study["auto"], machine(name).dtype), shape, machine(name).rates
            )
            assert asked["auto"].runtime * 60 > needs.seconds


def test_an_unknown_model_is_taken_as_large_until_it_is_there(tmp_path: Path) -> None:
    unknown = shape_for_requests({"hub": "some/body"}, str(tmp_path / "model"))
    assert unknown.parameters == pytest.approx(8e9, rel=0.1)
    keys = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    write_json(tmp_path / "there" / "config.json", {**keys, "vocab_size": 500})
    assert shape_for_requests({"hub": "some/body"}, str(tmp_path / "there")).width == 64
    assert shape_for_requests({"hub": "apple/DCLM-7B"}, str(tmp_path / "there")) == DCLM
