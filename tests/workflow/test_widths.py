"""Widths and sparsities in one study: what is planned, what jobs are asked for, and what is kept of weights."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from test_workflow_targets import STAGES, dry_run
from workspace import Workspace

from calibrant.pruning.masks.mask_file import read_masks, weights_path
from calibrant.study.grid import runs
from calibrant.study.study_file import load_config
from calibrant.study.work import jobs, work

pytestmark = pytest.mark.smoke

ONE: dict[str, Any] = {"sources": ["harbour"], "origins": ["real"], "seeds": 1}
STUDY: dict[str, Any] = {
    "preset": "tiny",
    "tasks": {},
    "evaluation": {"text_tokens": 256, "beside_dense": True},
    "storage": {"weights": "temporary"},
    "inspect": {"sequences": 0},
}


@pytest.fixture(scope="module")
def workspace(make_workspace: Callable[[], Workspace]) -> Workspace:
    return make_workspace()


def run(workspace: Workspace, target: str) -> None:
    """What `make study CONFIG=my.yaml TARGET=...` runs, which spares jobs their imports."""
    workspace.run("workflow/study.py", "--config", "my.yaml", "--target", target, "--", "--cores", "2")


def test_the_study_of_widths_is_planned_as_it_is_counted(workspace: Workspace) -> None:
    found = dry_run(workspace, "--configfile", "workflow/studies/widths.yaml", "--", "all")
    study = load_config(ROOT / "workflow/studies/widths.yaml", ROOT / "config.yaml")
    planned, methods = jobs(work([study])), Counter(run.method for run in runs(study))
    rules = {
        "prune_without_data": ("rtn", "magnitude"),
        "prune_in_passing": ("wrtn", "gptq", "awq", "sparsegpt"),
        "prune": ("wanda",),
    }
    for rule, names in rules.items():
        assert found[rule] == sum(methods[name] for name in names) > 0
    assert sum(found[rule] for rule in STAGES["prune"].split("|")) == planned["prune"]
    assert found["evaluate"] + found["evaluate_dense"] == planned["evaluate"] == planned["prune"] + 1
    assert not found["inspect"]


def test_jobs_ask_for_sparsity_and_width_by_their_flags(workspace: Workspace) -> None:
    grids = [
        {"methods": ["rtn"], "targets": ["w4g32"]},
        {"methods": ["gptq"], "targets": ["w3"], **ONE},
        {"methods": ["sparsegpt"], "targets": ["2:4+w4g32", "0.5"], **ONE},
    ]
    workspace.configure({**STUDY, "grids": grids, "pruning": {"options": {"exclude": "down"}}})
    planned = workspace.snakemake("--dry-run", "--printshellcmds", "--quiet", "host", "--", "masks")
    printed = f"{planned.stdout}{planned.stderr}"
    asked = [line.partition("--method ")[2] for line in printed.splitlines() if "--method" in line]
    options = "--option exclude=down"
    assert sorted(line.partition(" --resolved")[0].strip() for line in asked) == [
        f"gptq --bits 3 {options}",
        f"rtn --bits 4 --group 32 {options}",
        f"sparsegpt --sparsity 0.5 {options}",
        f"sparsegpt --sparsity 2:4 --bits 4 --group 32 {options}",
    ]


def test_updated_weights_are_deleted_once_they_are_measured_and_a_second_run_has_nothing_to_do(
    workspace: Workspace,
) -> None:
    grids = [
        {"methods": ["rtn"], "targets": ["w3g16"]},
        {"methods": ["wanda"], "targets": ["0.5"], **ONE},
        {"methods": ["sparsegpt"], "targets": ["2:4+w4g16"], **ONE},
        {"methods": ["wrtn", "gptq", "awq"], "targets": ["w3g16"], **ONE},
    ]
    options = {"symmetric": True, "gptq.act_order": True, "unreached": "keep"}
    workspace.configure({**STUDY, "grids": grids, "pruning": {"options": options}})
    run(workspace, "evaluations")
    folder = workspace.folder / "data/tiny"
    made = {path.relative_to(folder / "masks") for path in (folder / "masks").rglob("*") if path.is_file()}
    on_text = ("wanda-0.5", "sparsegpt-2of4+w4g16", "wrtn-w3g16", "gptq-w3g16", "awq-w3g16")
    runs = ["none/rtn-w3g16", *(f"harbour-real-n4-s0/{name}" for name in on_text)]
    kept = [*runs, "none/rtn-w3g16.weights"]  # one run, which reads no text and whose weights are asked for by no rule
    assert made == {Path(f"{name}.safetensors") for name in kept}
    divergence = {}
    for name in runs:
        rows = {each["metric"]: each["value"] for each in json.loads((folder / f"evaluations/{name}.json").read_text())}
        assert {"perplexity", "agreement", "kl"} == set(rows)
        divergence[name] = rows["kl"]
    assert min(divergence.values()) > 0
    assert len(set(divergence.values())) == len(divergence)
    assert read_masks(folder / f"masks/{runs[-2]}.safetensors").metadata["settings"]["gptq.act_order"] is True
    assert workspace.planned("--", "evaluations") == set()


def test_a_race_at_a_width_shows_rounding_to_nearest_and_hands_over_codes_and_weights(workspace: Workspace) -> None:
    choose = {"for": {"meadow": {}}, "method": "gptq", "target": "w4g16", "origins": ["real"], "tokens": 400}
    workspace.configure(
        {
            **{"preset": "tiny", "study": "race", "tasks": {}, "grids": []},
            "choose": {**choose, "reference": "quarry", "budget": [6], "own": False},
        }
    )
    run(workspace, "answer")
    folder, data = workspace.folder / "reports/race", workspace.folder / "data/race"
    answer = json.loads((folder / "answer.json").read_text())
    assert (answer["method"], answer["target"], answer["sets"]) == ("gptq", "w4g16", 6)
    facts = json.loads((data / f"choice/rounds/{answer['rounds']}.json").read_text())["facts"]
    assert facts["baseline"]["name"] == "rtn"
    assert facts["baseline"]["value"] > 0
    made = data / f"masks/{answer['text']}-real-n4-s{answer['number']}/gptq-w4g16.safetensors"
    for name, source in (("masks.safetensors", made), ("masks.weights.safetensors", weights_path(made))):
        assert (folder / name).read_bytes() == source.read_bytes()
    page = " ".join((folder / "index.html").read_text().split())
    assert "4 bits a weight in groups of 16" in page
    assert "--method gptq --bits 4 --group 16" in page
    assert "GPTQModifier" in page
