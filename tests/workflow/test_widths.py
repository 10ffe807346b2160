"""Widths and sparsities in one study: what is planned, what jobs are asked for, and what is kept of weights."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import ROOT
from test_workflow_targets import STAGES, dry_run
from workspace import Workspace

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


def test_the_study_of_widths_is_planned_as_it_is_counted(workspace: Workspace) -> None:
    found = dry_run(workspace, "--configfile", "workflow/studies/widths.yaml", "--", "all")
    planned = jobs(work([load_config(ROOT / "workflow/studies/widths.yaml", ROOT / "config.yaml")]))
    assert found["prune_in_passing"] == 3 * 3 * 6 * 3 + 2 * 3
    assert found["prune"] == 3 * 6 * 3
    assert found["prune_without_data"] == 4 + 3
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
    grids = [{"methods": ["sparsegpt", "wanda"], "targets": ["0.5"], **ONE}]
    workspace.configure({**STUDY, "grids": grids})
    workspace.snakemake("--quiet", "all", "--", "all")
    names = {path.name for path in (workspace.folder / "data/tiny/masks").rglob("*") if path.is_file()}
    assert names == {"sparsegpt-0.5.safetensors", "wanda-0.5.safetensors"}
    results = workspace.folder / "data/tiny/evaluations"
    for file in ("harbour-real-n4-s0/sparsegpt-0.5.json", "harbour-real-n4-s0/wanda-0.5.json"):
        rows = {row["metric"]: row["value"] for row in json.loads((results / file).read_text())}
        assert rows["kl"] > 0
        assert {"perplexity", "agreement"} < set(rows)
    assert workspace.planned("--", "all") == set()
