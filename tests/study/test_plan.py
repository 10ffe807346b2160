"""Plans: what is counted once, and hours and storage against arithmetic by hand."""

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from calibrant.artefacts.atomic import write_json
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models import rates
from calibrant.models.compute.number_formats import choose_number_format, dtype_name
from calibrant.models.compute.side_by_side import AT_ONCE
from calibrant.scoring.sample_scores import score_sequences
from calibrant.settings.batches import HEAD_POSITIONS, SCORING_TOKENS, evaluation_tokens_at_once
from calibrant.settings.stage_settings import ScoreSettings
from calibrant.study import cost
from calibrant.study.config import resolve_config
from calibrant.study.config_layers import layer_folder
from calibrant.study.cost import (
    Rates,
    activation_bytes,
    decode_bytes,
    decode_seconds,
    fitting_batch,
    passes,
    whole_bytes,
)
from calibrant.study.estimate import Estimate, estimate, with_number_format, work_shape
from calibrant.study.machines import HERE, Machine, default_machine, machine, machines
from calibrant.study.shapes import Shape, known_shape, shape_of_size
from calibrant.study.stage_needs import SIDE_BY_SIDE, bytes_a_number, evaluation_tokens, stage_needs
from calibrant.study.targets import target_config, target_files
from calibrant.study.work import counts, jobs, work

BASE = {"preset": "dclm-7b", "experiment": "sources"}


def test_targets_together_count_what_they_share_once() -> None:
    configs = [target_config(BASE, target) for target in target_files()]
    together = work(configs)
    alone = [work([config]) for config in configs]
    assert len(together.runs) == len(set().union(*(set(w.runs) for w in alone))) < sum(len(w.runs) for w in alone)
    assert counts(work([*configs, *configs])) | {"jobs": 0} == counts(together) | {"jobs": 0}
    assert counts(together)["masks"] == sum(n for name, n in counts(together).items() if name.startswith("masks by"))


def test_jobs_of_table1_by_hand() -> None:
    assert jobs(work([target_config(BASE, "table1")])) == {
        "download": 1 + 4 + 1 + 7,  # model, sources, text, tasks
        "sample": 4 * 20,
        "dense statistics": 4 * 20,  # OWL's
        "prune": 3 * 4 * 20,
        "evaluate": 3 * 4 * 20 + 1,
        "report": 2,
    }


def test_hours_and_storage_by_hand() -> None:
    planned = work([target_config(BASE, "table7")])
    given = {"products": 1e12, "attention": 5e11, "choose": 1e8, "load": 1e9, "start": 10.0, "bandwidth": 1e11}
    found = estimate(planned, machine("gpu"), given)
    weights, embedding, tokens, masks = 32 * 4096 * (4 * 4096 + 3 * 11008), 50432 * 4096, 128 * 2048, 100
    load = (weights + 2 * embedding) * 2 / 1e9
    attention = 2 * 32 * 4096 * 2048 / 5e11  # s a token
    forward = tokens * (2 * weights / 1e12 + attention)
    twice = (1 - 4096 * 11008 * 32 / weights) + 31 / 32
    assert found.hours["prune"] == pytest.approx(masks * (twice * forward + weights / 1e8 + 10 + load) / 3600)
    pool = 5000 * 2048
    scored = pool * (2 * (weights + embedding) / 1e12 + attention)
    assert found.hours["score"] == pytest.approx((scored + 10 + load) / 3600)
    items, text = evaluation_tokens(planned.config)
    evaluated = items * (2 * weights / 1e12 + 2 * 32 * 4096 * 250 / 5e11) + text * (
        2 * (weights + embedding) / 1e12 + attention
    )
    assert found.hours["evaluate"] == pytest.approx(101 * (evaluated + 10 + load) / 3600)
    assert found.storage["masks"] == masks * weights / 8
    assert found.storage["model"] == (weights + 2 * embedding) * 2
    assert {found.assumptions[name].origin for name in given} == {"given"}


def test_generation_by_hand() -> None:
    shape, rates = Shape(2, 8, 16, 8, 4, 100), Rates(1e9, 1e9, 1e9, 1e6, 1e9, 1e9, 0.0, 0.0, 0.0)
    weights = 2 * 8 * (2 * 8 + 2 * 4 + 3 * 16) + 800
    steps, cache = 6 / 3 * 10, 6 * 10 * 5 * (2 * 2 * 4 * 2)  # each token reads half of its sequence's keys and values
    by_hand = (steps * weights * 2 + cache) / 1e6 + 2 * weights * 60 / 1e9
    assert decode_seconds(shape, rates, 6, 10, 3, 2) == pytest.approx(by_hand)


def test_a_batch_is_as_large_as_its_caches_allow() -> None:
    shape = known_shape({"hub": "meta-llama/Llama-2-7b-hf"})
    fits = fitting_batch(shape, 64, 2048, 2, 72e9)
    assert 1 < fits < 64
    assert decode_bytes(shape, fits, 2048, 2) <= 72e9 < decode_bytes(shape, fits + 1, 2048, 2)
    assert fitting_batch(shape, 64, 2048, 2, 0.0) == 64
    assert fitting_batch(shape, 4, 2048, 2, 72e9) == 4


@pytest.mark.parametrize("preset", ["dclm-7b", "llama-2-7b", "llama-2-13b", "llama-3-8b"])
def test_generation_of_the_papers_presets_fits_into_80_gb(preset: str) -> None:
    config = resolve_config({"preset": preset, "experiment": "sources"})
    shape = known_shape(config["model"])
    assert decode_bytes(shape, config["generation"]["batch_size"], config["calibration"]["length"], 2) < 72e9


def test_every_job_of_the_estimate_is_a_job_of_the_plan() -> None:
    planned = work([target_config(BASE, target) for target in target_files()])
    counted = jobs(planned)
    found = estimate(planned, machine("gpu")).stages
    assert {name: stage.jobs for name, stage in found.items()} == {name: counted[name] for name in found}
    assert set(found) == {"generate", "score", "dense statistics", "prune", "evaluate"}


def test_a_larger_model_needs_more_devices_but_prunes_on_one() -> None:
    config = target_config({"preset": "llama-2-7b", "experiment": "sources"}, "table7")
    config["model"] = {"hub": "meta-llama/Llama-3.1-405B"}
    found = estimate(work([config]), machine("h100")).stages
    assert found["evaluate"].devices == 12  # 812 GB of weights over 0.9 x 80 GB
    assert found["prune"].devices == 1


def test_sparsegpt_costs_its_hessians_and_sublayer_mode_one_pass() -> None:
    config = target_config(BASE, "table7")
    shape, rates = shape_of_size(7e9), Rates(1e14, 5e13, 1e13, 1e12, 1e9, 1e9, 1.0, 1e9, 8e10)
    plain = stage_needs("prune", config, shape, rates)
    heavy = stage_needs("prune", config, shape, rates, method="sparsegpt")
    assert heavy.seconds > plain.seconds
    assert heavy.device > plain.device + 4 * shape.inner**2
    assert passes(shape) == pytest.approx(1.75, abs=0.05)
    config["pruning"]["options"] = {"sequential": "sublayer"}
    assert stage_needs("prune", config, shape, rates).seconds < plain.seconds
    with pytest.raises(InputError, match="stage filter: there is no cost model"):
        stage_needs("filter", config, shape, rates)


def test_quantizers_cost_what_they_read() -> None:
    config = target_config(BASE, "table7")
    shape, rates = shape_of_size(7e9), Rates(1e14, 5e13, 1e13, 1e12, 1e9, 1e9, 1.0, 1e9, 8e10)
    alike = {"rtn": "magnitude", "wrtn": "wanda", "gptq": "sparsegpt", "awq": "sparsegpt"}
    found = {name: stage_needs("prune", config, shape, rates, method=name) for name in {*alike, *alike.values()}}
    passes = {"rtn": 0, "wrtn": 12, "gptq": 10, "awq": 12}
    for name, other in alike.items():
        longer = passes[name] * shape.linear_weights / rates.choose
        assert found[name].seconds == pytest.approx(found[other].seconds + longer)
        assert (found[name].device, found[name].host) == (found[other].device, found[other].host)
    config["pruning"]["options"] = {"wrtn.candidates": 2}
    fewer = stage_needs("prune", config, shape, rates, method="wrtn").seconds
    assert found["wrtn"].seconds - fewer == pytest.approx(10 * shape.linear_weights / rates.choose)


def test_storage_of_codes_and_updated_weights_by_hand() -> None:
    one = {"origins": ["real"], "sources": ["web"], "seeds": 1}
    grids = [
        {"methods": ["rtn"], "targets": ["w4g64"]},
        {"methods": ["gptq"], "targets": ["w3g64"], **one},
        {"methods": ["sparsegpt"], "targets": ["0.5", "2:4+w2g32"], **one},
        {"methods": ["wanda"], "targets": ["0.5"], **one},
    ]
    study = {"preset": "smollm2-135m", "experiment": "sources", "grids": grids}
    shape = known_shape(resolve_config(study)["model"])
    bits = (4 + 40 / 64) + (3 + 40 / 64) + 1 + (1 + 2 + 40 / 32) + 1
    for weights, files in (("keep", 4), ("temporary", 1)):
        planned = work([resolve_config({**study, "storage": {"weights": weights}, "compute": {"dtype": "float32"}})])
        found = estimate(planned, machine("avx2")).storage
        assert found["masks"] == pytest.approx(shape.linear_weights * bits / 8)
        assert found["updated weights"] == files * shape.linear_weights * 4


def test_the_dense_model_is_evaluated_where_others_are_measured_beside_it() -> None:
    grids = [{"methods": ["rtn"], "targets": ["w4"]}]
    study = {"preset": "smollm2-135m", "experiment": "sources", "grids": grids}
    beside = work([resolve_config({**study, "evaluation": {"beside_dense": True}})])
    assert jobs(beside)["evaluate"] == 2
    assert jobs(work([resolve_config(study)]))["evaluate"] == 1


def test_threads_of_a_cpu_hold_activations_of_their_own() -> None:
    config, shape = target_config(BASE, "table7"), shape_of_size(7e9)
    memory = {}
    for threads in (1, 2, 4, 16):
        config["compute"]["threads"] = threads
        memory[threads] = stage_needs("prune", config, shape, machine("avx2").rates).host
    once = activation_bytes(shape, config["calibration"]["length"], 2)
    assert memory[2] - memory[1] == pytest.approx(once)
    assert memory[4] - memory[1] == memory[16] - memory[1] == pytest.approx(3 * once)
    assert SIDE_BY_SIDE == AT_ONCE


def test_a_plan_reckons_with_the_batches_that_scoring_and_evaluation_take() -> None:
    config, shape = target_config(BASE, "table7"), shape_of_size(7e9)
    for name, size, evaluated in (("gpu", 2, 16384), ("avx512-bf16", 2, 2048)):
        rates = machine(name).rates
        found = {stage: stage_needs(stage, config, shape, rates).device for stage in ("score", "evaluate")}
        assert found["evaluate"] == pytest.approx(whole_bytes(shape, evaluated, size) + rates.runtime)
        assert found["score"] == pytest.approx(whole_bytes(shape, 4096, size) + rates.runtime)
    assert {gpu: evaluation_tokens_at_once(gpu=gpu) for gpu in (True, False)} == {True: 16384, False: 2048}
    assert inspect.signature(score_sequences).parameters["batch_tokens"].default == SCORING_TOKENS == 4096
    assert ScoreSettings().batch_tokens == SCORING_TOKENS
    assert HEAD_POSITIONS == cost.HEAD_POSITIONS == 256


def test_shapes_have_the_published_numbers_of_parameters() -> None:
    def billions(name: str) -> float:
        return round(known_shape({"hub": name}).parameters / 1e9, 1)

    assert billions("meta-llama/Llama-2-7b-hf") == 6.7
    assert billions("meta-llama/Llama-2-13b-hf") == 13.0
    assert billions("meta-llama/Llama-2-70b-hf") == 69.0
    assert billions("meta-llama/Llama-3.1-405B") == 405.8
    assert billions("meta-llama/Meta-Llama-3-8B") == 8.0
    assert known_shape({"id": "SmolLM2-135M-Instruct-Q4_1-dequantised"}).parameters == pytest.approx(134.5e6, rel=1e-3)
    for size in (5e7, 7e9, 4e11):
        assert shape_of_size(size).parameters == pytest.approx(size, rel=0.02)


def test_a_local_models_shape_is_read_from_its_config(tmp_path: Path) -> None:
    given = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 8,
             "num_key_value_heads": 2, "vocab_size": 100, "tie_word_embeddings": True}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(given))
    found = known_shape({"path": str(tmp_path), "id": "mine"})
    assert found == Shape(3, 64, 96, 64, 16, 100, True)
    assert found.parameters == 3 * (64 * 64 * 2 + 64 * 16 * 2 + 3 * 64 * 96) + 6400
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="hidden_size"):
        known_shape({"path": str(tmp_path)})


def test_limits_shorten_an_evaluation() -> None:
    def tokens(**chosen: Any) -> float:
        return sum(evaluation_tokens(resolve_config({**BASE, "evaluation": chosen})))

    assert tokens(limit=10) < tokens()
    assert tokens() - tokens(text_tokens=1000) == pytest.approx(6.5e6 - 1000)


def test_a_rate_that_is_not_known_and_a_model_of_unknown_size_are_refused() -> None:
    planned = work([target_config(BASE, "table7")])
    with pytest.raises(InputError, match=r"--set speed=3: .* one of products, attention"):
        estimate(planned, machine("gpu"), {"speed": 3})
    with pytest.raises(InputError, match="number above 0"):
        estimate(planned, machine("gpu"), {"products": 0})
    with pytest.raises(InputError, match="number above 0"):
        estimate(planned, machine("gpu"), {"parameters": 0})
    own = work([target_config({**BASE, "model": {"hub": "some/body"}}, "table7")])
    with pytest.raises(InputError, match="parameters of some/body is not known; give --set parameters"):
        estimate(own, machine("gpu"))
    assert default_machine(work_shape(own, 1e8)[0]) == HERE
    assert default_machine(work_shape(own, 8e9)[0]) == "gpu"
    assert estimate(own, machine("gpu"), {"parameters": 8e9}).assumptions["parameters"].value == pytest.approx(
        8e9, rel=0.01
    )


def test_the_command_prints_counts_and_what_the_hours_rest_on(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(layer_folder("preset") / "dclm-7b.yaml")
    assert main(["plan", path, "--target", "table2", "--target", "table1", "--set", "products=9e13"]) == 0
    printed = capsys.readouterr().out
    assert "study dclm-7b: preset dclm-7b, compat paper, targets table2, table1" in printed
    assert " ".join(line for line in printed.split("\n") if "tokens to generate" in line).split()[-1] == "40,960,000"
    assert "9e+13" in printed
    assert "(given)" in printed
    assert "assumed" in printed
    assert main(["plan", path, "--set", "products"]) == 2
    assert "must be NAME=NUMBER" in capsys.readouterr().err
    assert main(["plan", path, "--machine", "tpu"]) == 2
    assert main(["plan", path, "--target", "table9", "--counts"]) == 2
    assert "no target table9" in capsys.readouterr().err


def test_a_race_is_told_beside_what_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = {"for": {"fiction": {}}, "method": "gptq", "target": "w4g64", "budget": [24]}
    write_json(tmp_path / "race.yaml", {"preset": "smollm2-135m", "experiment": "sources", "choose": chosen})
    assert main(["plan", str(tmp_path / "race.yaml"), "--counts"]) == 0
    _, _, said = capsys.readouterr().out.partition("its race, on top of that: gptq at w4g64, beside rtn\n")
    rows = dict(line.rsplit(maxsplit=1) for line in said.splitlines()[:2])
    assert {name.strip(): int(count) for name, count in rows.items()} == {"candidates": 9, "sets at most": 24}


def test_auto_is_the_machines_number_format_and_a_given_one_stays() -> None:
    def evaluated(name: str, dtype: str) -> Estimate:
        config = resolve_config({"preset": "smollm2-135m", "experiment": "sources", "compute": {"dtype": dtype}})
        return estimate(work([config]), machine(name))

    assert {name: evaluated(name, "auto").dtype for name in machines()} == {
        "avx512-bf16": "bfloat16", "avx2": "float32", "gpu": "bfloat16", "h100": "bfloat16"
    }  # fmt: skip
    assert evaluated("avx2", "bfloat16").dtype == "bfloat16"
    host = {dtype: evaluated("avx2", dtype).stages["evaluate"].peak.host for dtype in ("auto", "bfloat16", "float32")}
    assert host["auto"] == host["float32"] > host["bfloat16"]
    assert evaluated("avx2", "auto").storage == evaluated("gpu", "auto").storage  # of the checkpoint, as it is


def test_an_unresolved_auto_is_reckoned_with_what_it_may_become() -> None:
    config = resolve_config({"preset": "smollm2-135m", "experiment": "sources"})
    assert config["compute"]["dtype"] == "auto"
    assert bytes_a_number(config, machine("avx512-bf16").rates) == bytes_a_number(config, machine("avx2").rates) == 4
    assert bytes_a_number(config, machine("gpu").rates) == 2


# The default study of 26 November 2026 and that of 29 November 2026, in what the time of their jobs depends on.
STUDIES: dict[str, dict[str, Any]] = {
    "long": {
        "tasks": {"next_sentence_news": {"kind": "next_sentence", "source": "news", "items": 24}},
        "calibration": {"length": 512},
        "evaluation": {"length": 512, "text_tokens": 3072},
    },
    "short": {
        "tasks": {},
        "calibration": {"length": 256},
        "evaluation": {"length": 512, "text_tokens": 1536},
    },
}
# Seconds of jobs of SmolLM2-135M on one thread, libraries loaded: machine, study, stage, samples, seconds.
JOBS = [
    # 26 November 2026, AMD EPYC with AVX512-BF16, bfloat16: means over a study's jobs by the clock. The 12 samples of a
    # scoring are the mean of pools of 20 and sets of 8.
    ("avx512-bf16", "long", "prune", 8, 14.5),
    ("avx512-bf16", "long", "score", 12, 11.8),
    ("avx512-bf16", "long", "evaluate", 0, 14.1),
    ("avx512-bf16", "long", "generate", 20, 34.8),
    # 29 November 2026, AMD EPYC with AVX2, float32: single jobs; processor seconds, beside other work.
    ("avx2", "long", "prune", 8, 61.9),
    ("avx2", "long", "score", 20, 109.7),
    ("avx2", "long", "evaluate", 0, 72.1),
    ("avx2", "long", "generate", 20, 201.9),
    # The same by the clock, on cores that did little else.
    ("avx2", "short", "prune", 8, 33.1),
    ("avx2", "short", "score", 20, 53.3),
    ("avx2", "short", "evaluate", 0, 18.4),
    ("avx2", "short", "generate", 20, 96.7),
]


@pytest.mark.parametrize(("name", "study", "stage", "samples", "seconds"), JOBS)
def test_jobs_take_what_the_rates_of_their_machine_say(
    name: str, study: str, stage: str, samples: int, seconds: float
) -> None:
    given = {
        "preset": "smollm2-135m",
        "experiment": "sources",
        "generation": {"samples": 20, "batch_size": 20},
        "compute": {"threads": 1},
        **STUDIES[study],
    }
    known = machine(name)
    config = with_number_format(resolve_config(given), known.dtype)
    needs = stage_needs(stage, config, known_shape(config["model"]), known.rates, samples=samples)
    assert 1 / 1.5 < needs.seconds / seconds < 1.5


def test_this_computer_is_measured_for_a_small_model_in_the_format_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int, int]] = []

    def measure(dtype: torch.dtype, threads: int, length: int) -> Machine:
        asked.append((dtype_name(dtype), threads, length))
        found = replace(machine("avx2"), name=HERE, label="this computer (a test)", dtype=dtype_name(dtype))
        return replace(found, at_once=4)

    def plan(*arguments: str) -> tuple[str, int, int]:
        assert main(["plan", *arguments]) == 0
        printed = capsys.readouterr().out
        assert "hours of this computer (a test) in " + asked[-1][0] in printed
        rows = printed.partition("hours of")[2].partition("storage")[0].splitlines()
        hours = {line[:20].strip(): line.split()[-1] for line in rows[2:]}
        assert float(hours["4 jobs at a time"]) == pytest.approx(float(hours["in all"]) / 4, abs=0.01)
        return asked.pop()

    def auto(checkpoint: torch.dtype) -> str:
        return dtype_name(choose_number_format("auto", checkpoint, torch.device("cpu")).dtype)

    monkeypatch.setattr(rates, "machine_here", measure)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    model, resolved = Path("data/smollm2-135m/model/config.json"), Path("data/smollm2-135m/number-format.json")
    preset = [str(layer_folder("preset") / "smollm2-135m.yaml"), "--config", "experiment=sources"]
    long = [*preset, "--config", "calibration={length: 4096}"]
    preset += ["--config", "calibration={length: 512}"]
    assert plan(*preset) == (auto(torch.bfloat16), 1, 512)  # a checkpoint that is not here yet
    write_json(model, {"torch_dtype": "float32"})
    assert plan(*preset) == ("float32", 1, 512)
    write_json(resolved, {"dtype": "float16"})
    assert plan(*preset) == ("float16", 1, 512)  # as the study began
    assert plan(*long, "--config", "compute={dtype: bfloat16, threads: 2}") == ("bfloat16", 2, 2048)  # over it
    assert plan(*preset, "--machine", "here") == ("float16", 1, 512)
    for arguments in (["--machine", "gpu"], ["--counts"], ["--config", "compute={device: cuda}"]):
        assert main(["plan", *preset, *arguments]) == 0
        assert "this computer" not in capsys.readouterr().out
    assert asked == []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert main(["plan", *preset]) == 0
    assert "hours of one NVIDIA A100" in capsys.readouterr().out


def test_rates_of_another_number_format_are_said_to_be_that(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(layer_folder("preset") / "smollm2-135m.yaml")
    study = ["plan", path, "--config", "experiment=sources", "--machine", "avx2"]
    said = "its rates are those of float32, which the study does not compute in"
    assert main(study) == 0
    assert said not in capsys.readouterr().out
    assert main([*study, "--config", "compute={dtype: bfloat16}"]) == 0
    assert said in capsys.readouterr().out


def test_machines_are_listed_where_one_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cpu", "tpu"):  # the processors' records have names of their own
        assert main(["plan", "--machine", name]) == 2
        listed = "must be one of here (this computer, measured), avx512-bf16, avx2, gpu, h100"
        assert f"--machine {name}: {listed}" in capsys.readouterr().err
    assert len({machine(name).label for name in machines()}) == len(machines())


def test_counts_are_printed_for_a_model_of_unknown_size_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("preset: smollm2-135m\nexperiment: sources\nmodel: {path: my-model}\n")
    assert main(["plan", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "evaluations" in printed
    assert "no estimate of hours and storage: the number of parameters of my-model is not known" in printed


def test_files_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = tmp_path / "here.jsonl"
    here.write_text('{"text": "a"}')
    study = {
        "preset": "dclm-7b",
        "sources": {"here": {"files": [str(here)]}, "gone": {"files": [str(tmp_path / "*.txt"), str(here)]}},
        "tasks": {"piqa": {"files": {"validation": "no-such-rows.jsonl"}}},
    }
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(study))
    assert main(["plan", str(path), "--counts"]) == 0
    printed = capsys.readouterr().out.partition("named by the configuration, but not on this machine\n")[2]
    assert [line.split() for line in printed.splitlines()] == [
        ["sources.gone", str(tmp_path / "*.txt")],
        ["tasks.piqa", "no-such-rows.jsonl"],
    ]


def test_a_preset_is_named_as_for_snakemake(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(layer_folder("preset") / "llama-2-7b.yaml")
    printed = []
    for words in (
        [path],
        ["llama-2-7b"],
        ["--config", "preset=llama-2-7b"],
        ["dclm-7b", "--config", "preset=llama-2-7b"],
    ):
        assert main(["plan", *words, "--target", "table5", "--counts"]) == 0
        printed.append(capsys.readouterr().out)
    assert len(set(printed)) == 1
    assert "study llama-2-7b: preset llama-2-7b" in printed[0]
    assert main(["plan", "--config", "seeds: 3"]) == 2
    assert "--config seeds: 3: must be KEY=VALUE" in capsys.readouterr().err
    assert main(["plan", "dclm7b"]) == 2
    assert "dclm7b: no such file, and no preset (did you mean dclm-7b?); presets are" in capsys.readouterr().err
    assert main(["plan", "llama-3-7b"]) == 2
    assert "llama-3-7b" in capsys.readouterr().err
    assert main(["plan", "tiny", "--config", "seeds=5", "--target", "table1", "--counts"]) == 0
    assert (
        " ".join(capsys.readouterr().out.split()).count("evaluations 46") == 1
    )  # 3 methods, 3 sources, 5 seeds, dense
