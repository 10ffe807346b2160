"""What benchmarks reckon with: fits against known costs, and what a simulated run says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from fitting import fit, predicted, slope
from simulate import POOL, durations, sleep_commands, summary
from stubs import STUB

from calibrant.study.config import load_config
from calibrant.study.plan import jobs, work
from calibrant.study.shapes import known_shape
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
