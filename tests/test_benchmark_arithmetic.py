"""What benchmarks reckon with: fits against known costs, and what a simulated run says."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
import torch
from support import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from common import arguments, machine, memory, parse, processor, report
from fitting import fit, predicted, slope
from prune import EXACT, OURS, OURS_EXACT, OURS_PLAIN, PUBLISHED, SQUARES, TWO, mask_checks
from simulate import POOL, durations, sleep_commands, summary
from stubs import STUB

from calibrant.models.checkpoint.resolution import resolve_dtype
from calibrant.models.compute.hardware import hardware
from calibrant.models.compute.number_formats import dtype_name
from calibrant.study.shapes import known_shape
from calibrant.study.study_file import load_config
from calibrant.study.work import jobs, work
from workflow import make_workspace


def test_a_fit_finds_the_costs_that_times_were_made_of() -> None:
    rng = np.random.default_rng(0)
    costs = {"products": 1e-11, "attention": 5e-11, "start": 0.2}
    rows = [
        {"products": float(rng.uniform(1e9, 1e11)), "attention": float(rng.uniform(1e8, 1e10)), "start": 1.0}
        for _ in range(20)
    ]
    rows[3].pop("attention")
    seconds = predicted(rows, costs)
    assert fit(rows, seconds) == pytest.approx(costs)
    noisy = [value * float(rng.uniform(0.95, 1.05)) for value in seconds]
    assert fit(rows, noisy) == pytest.approx(costs, rel=0.2)


def test_no_cost_is_below_nothing() -> None:
    rows = [{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 1.0}, {"a": 3.0, "b": 0.5}]
    found = fit(rows, [1.0, 2.2, 3.5])
    assert found["b"] == 0
    assert found["a"] == pytest.approx(1.09, abs=0.05)


def test_exponents_of_power_laws() -> None:
    x = [1.0, 2.0, 4.0, 8.0]
    assert slope(x, [3 * value for value in x]) == pytest.approx(1)
    assert slope(x, [value**2 for value in x]) == pytest.approx(2)


def test_a_simulated_run_by_hand() -> None:
    row = {"gpus": 4, "jobs": 100, "wall": 32.0, "plan": 2.0, "busy": 100.0, "real": 4 * 3600.0}
    found = summary(row)
    assert found["utilisation"] == pytest.approx(100 / (30 * 4))
    assert found["overhead"] == pytest.approx((30 - 25) / 100)
    assert found["real"] == pytest.approx(3600 / 3605)


def test_every_gpu_job_of_the_grid_has_a_time_to_sleep() -> None:
    table, total, count = durations("tiny")
    assert total > 0
    assert count > 50
    methods = {method for script, method, _ in table if script == "prune.py"}
    assert methods == {"wanda", "dsnot", "owl", "magnitude"}
    assert ("generate.py", "", POOL) in table
    assert ("evaluate.py", "", "0") in table
    script = sleep_commands(table, 2.0)
    assert f"evaluate.py//0) sleep {table['evaluate.py', '', '0'] / 2:.4f} ;;" in script
    assert "SLEEP\n" in STUB


@pytest.mark.parametrize(
    ("script", "method", "output", "key"),
    [
        ("prune.py", "wanda", "data/x/masks/web-real-n128-s3/wanda-0.6.safetensors", ("prune.py", "wanda", "128")),
        ("prune.py", "dsnot", "data/x/masks/web-p4-d0.2-n64-s3/dsnot-2of4.safetensors", ("prune.py", "dsnot", "64")),
        ("prune.py", "magnitude", "data/x/masks/none/magnitude-0.6.safetensors", ("prune.py", "magnitude", "0")),
        ("score.py", "", "data/x/scores/sets/web-real-n128-s3.parquet", ("score.py", "", "128")),
        ("score.py", "", "data/x/scores/generated/web-p4.parquet", ("score.py", "", POOL)),
        ("generate.py", "", "data/x/generated/web-p4.parquet", ("generate.py", "", POOL)),
        ("evaluate.py", "", "data/x/evaluations/web-real-n128-s3/wanda-0.6.json", ("evaluate.py", "", "0")),
    ],
)
def test_the_stub_sleeps_as_long_as_its_job_takes(
    script: str, method: str, output: str, key: tuple[str, str, str]
) -> None:
    table, _, _ = durations("dclm-7b")
    shell = f"sleep() {{ echo $1; }}; script={script} method={method} output={output}\n{sleep_commands(table, 1.0)}"
    said = subprocess.run(["sh", "-c", shell], text=True, capture_output=True, check=True).stdout
    assert said == f"{table[key]:.4f}\n"


def test_the_stubbed_study_has_about_as_many_jobs_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_workspace(tmp_path, 2000)
    monkeypatch.chdir(tmp_path)
    config = load_config("study.yaml")
    assert sum(jobs(work([config])).values()) == pytest.approx(2000, rel=0.05)
    assert known_shape(config["model"]).layers == 2


def test_masks_are_compared_with_what_has_a_meaning_in_their_number_format() -> None:
    for method, own in itertools.product(("wanda", "sublayer", "sparsegpt"), (True, False)):
        plain, half = mask_checks(method, "float32", own), mask_checks(method, "bfloat16", own)
        for checks in (plain, half):
            pairs = [frozenset(pair) for pair in checks.values()]
            assert len(set(pairs)) == len(pairs)  # nothing twice
            assert all(len(pair) == 2 for pair in pairs)  # nothing with itself
        names = {name for pair in plain.values() for name in pair}
        assert not names & {EXACT, OURS_EXACT}  # they are what is timed
        assert {name for pair in half.values() for name in pair} >= {EXACT, OURS_EXACT}
        assert all(label.startswith("float32: ") for label in plain)
        assert {label.partition(":")[0] for label in half} == {"float32", "bfloat16"}
        assert (OURS_PLAIN in names) == own
        assert (SQUARES in names) == (method != "sparsegpt")
        assert set(plain.values()) >= {(PUBLISHED, OURS), (PUBLISHED, TWO)}


def test_benchmarks_say_processor_and_number_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine("float32")
    assert (found["number_format"], found["instruction_sets"]) == ("float32", hardware(torch.device("cpu")).text)
    report("trial", [], tmp_path, dtype="bfloat16")
    assert "; number_format bfloat16; " in (tmp_path / "trial.md").read_text()
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A processor\n")
    assert processor(info) == "A processor"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert processor(tmp_path / "absent") == "unknown processor"
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"cpu_name": "What PyTorch says"})
    assert processor(info) == "What PyTorch says"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no /proc/meminfo"), psutil.AccessDenied()])
def test_benchmarks_run_where_psutil_gets_no_answer(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    known = memory()
    monkeypatch.setattr(psutil, "virtual_memory", Mock(side_effect=error))
    assert memory() == pytest.approx(known, rel=0.05)  # by sysconf
    monkeypatch.setattr("os.sysconf", Mock(side_effect=ValueError))
    assert memory() is None


def test_benchmarks_take_the_number_format_that_a_stage_would(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model_dir, model)
    written = json.loads((model / "config.json").read_text())

    def taken(*given: str) -> str:
        monkeypatch.setattr(sys, "argv", ["trial", "--model", str(model), *given])
        return str(parse(arguments("trial")).dtype)

    for checkpoint in ("bfloat16", "float32"):
        (model / "config.json").write_text(json.dumps({**written, "dtype": checkpoint}))
        assert taken() == taken("--dtype", "auto") == dtype_name(resolve_dtype(model, "auto", "cpu").dtype)
        assert taken("--dtype", "float16") == "float16"
    with pytest.raises(SystemExit):
        taken("--dtype", "float8")
    assert "--dtype float8: unknown number format" in capsys.readouterr().err
