"""Plans: what is counted once, and hours and storage against arithmetic by hand."""

from pathlib import Path
from typing import Any

import pytest

from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.study.config import resolve_config, workflow_root
from calibrant.study.estimate import estimate, tokens_of_evaluation
from calibrant.study.plan import counts, jobs, work
from calibrant.study.targets import target_config, target_files

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
    rates = {"parameters": 2e9, "forward": 1000.0, "generate": 500.0, "choose": 1.0, "start": 10.0}
    found = estimate(planned, "gpu", rates)
    tokens, masks = 128 * 2048, 100
    assert found.hours["prune"] == pytest.approx((masks * 2 * tokens * 2 / 1000 + masks * (2 + 10)) / 3600)
    assert found.hours["generate"] == pytest.approx((5000 * 2048 * 2 / 500 + 10) / 3600)
    assert found.hours["score"] == pytest.approx((5000 * 2048 * 2 / 1000 + 10) / 3600)
    evaluated = tokens_of_evaluation(planned.config)
    assert found.hours["evaluate"] == pytest.approx(101 * (evaluated * 2 / 1000 + 10) / 3600)
    assert found.storage["masks"] == masks * 2e9 / 8
    assert found.storage["model"] == 2e9 * 2
    assert {found.assumptions[name].origin for name in rates} == {"given"}


def test_limits_shorten_an_evaluation() -> None:
    def tokens(**chosen: Any) -> float:
        return tokens_of_evaluation(resolve_config({**BASE, "evaluation": chosen}))

    assert tokens(limit=10) < tokens()
    assert tokens() - tokens(text_tokens=1000) == pytest.approx(6.5e6 - 1000)


def test_a_rate_that_is_not_known_and_a_model_of_unknown_size_are_refused() -> None:
    planned = work([target_config(BASE, "table7")])
    with pytest.raises(InputError, match=r"--set speed=3: .* one of forward, generate"):
        estimate(planned, "gpu", {"speed": 3})
    with pytest.raises(InputError, match="number above 0"):
        estimate(planned, "gpu", {"forward": 0})
    own = work([target_config({**BASE, "model": {"hub": "some/body"}}, "table7")])
    with pytest.raises(InputError, match="parameters of some/body is not known; give --set parameters"):
        estimate(own)
    assert estimate(own, changes={"parameters": 1e8}).machine == "cpu"
    assert estimate(own, changes={"parameters": 8e9}).machine == "gpu"


def test_the_command_prints_counts_and_what_the_hours_rest_on(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(workflow_root() / "presets" / "dclm-7b.yaml")
    assert main(["plan", path, "--target", "table2", "--target", "table1", "--set", "forward=90000"]) == 0
    printed = capsys.readouterr().out
    assert "study dclm-7b: preset dclm-7b, compat paper, targets table2, table1" in printed
    assert " ".join(line for line in printed.split("\n") if "tokens to generate" in line).split()[-1] == "40,960,000"
    assert "9e+04" in printed
    assert "(given)" in printed
    assert "assumed" in printed
    assert main(["plan", path, "--set", "forward"]) == 2
    assert "must be NAME=NUMBER" in capsys.readouterr().err
    assert main(["plan", path, "--machine", "tpu"]) == 2
    assert main(["plan", path, "--target", "table9", "--counts"]) == 2
    assert "no target table9" in capsys.readouterr().err


def test_counts_are_printed_for_a_model_of_unknown_size_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("preset: smollm2-135m\nexperiment: sources\nmodel: {path: my-model}\n")
    assert main(["plan", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "evaluations" in printed
    assert "no estimate of hours and storage: the number of parameters of my-model is not known" in printed
