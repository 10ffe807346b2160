"""Targets of the workflow: what a dry run plans on the papers' presets, and one that runs, on the preset tiny."""

import json
import re
import resource
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from workspace import Workspace

from calibrant.study.grid import runs
from calibrant.study.targets import PAPER, target_config, target_files
from calibrant.study.work import jobs, work

pytestmark = pytest.mark.smoke

# Rules of each of the plan's stages.
STAGES = {
    "download": r"download_.*",
    "number format": "number_format",
    "sample": "sample",
    "generate": "generate",
    "score": "score",
    "filter": "filter",
    "draw": "draw|pack",
    "dense statistics": "dense_statistics",
    "prune": "prune|prune_in_passing|prune_without_data",
    "evaluate": "evaluate|evaluate_dense",
    "compare sources": "compare_sources",
    "contamination": "contamination",
    "report": "target_index|target_report|paper_report",
}


@pytest.fixture(scope="module")
def workspace(make_workspace: Callable[[], Workspace]) -> Workspace:
    return make_workspace()


def dry_run(workspace: Workspace, *arguments: str) -> Counter[str]:
    """Jobs by rule."""
    result = workspace.run("-m", "snakemake", "--cores", "1", "--dry-run", "--quiet", "rules", "host", *arguments)
    rows = re.findall(r"^(\w+) +(\d+)$", result.stdout + result.stderr, re.MULTILINE)
    return Counter({rule: int(count) for rule, count in rows if rule != "total"})


def study_targets(workspace: Workspace, preset: str, *targets: str) -> subprocess.CompletedProcess[str]:
    """As the Makefile does it: with the preset's file as configuration."""
    named = [word for target in targets for word in ("--target", target)]
    return workspace.run("workflow/study.py", "--config", f"workflow/presets/{preset}.yaml", *named)


@pytest.mark.parametrize("sets", ["blocks", "pool"])
def test_the_plan_counts_the_jobs_that_snakemake_would_run(workspace: Workspace, sets: str) -> None:
    found = dry_run(workspace, "--config", "preset=tiny", f"calibration={{sets: {sets}}}", "--", "paper")
    given = {"preset": "tiny", "experiment": "sources", "calibration": {"sets": sets}}
    planned = jobs(work([target_config(given, target) for target in [*target_files(), PAPER]]))
    by_stage = {
        stage: sum(count for rule, count in found.items() if re.fullmatch(rules, rule))
        for stage, rules in STAGES.items()
    }
    assert {stage: count for stage, count in by_stage.items() if count} == planned
    assert ("filter" in planned) == (sets == "pool")
    assert set(found) - {r for r in found for rules in STAGES.values() if re.fullmatch(rules, r)} == {
        "paper",
        "tiny_material",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--configfile", "workflow/presets/dclm-7b.yaml", "--", "table2"),
        ("--config", "preset=dclm-7b", "--", "table2"),
    ],
)
def test_a_preset_is_chosen_by_its_file_or_by_its_name(workspace: Workspace, arguments: tuple[str, ...]) -> None:
    found = dry_run(workspace, *arguments)
    assert found["prune"] == 3 * 4 * 2 * 20
    assert found["evaluate"] == found["prune"]
    assert found["generate"] == 4
    assert found["sample"] == found["draw"] == 4 * 20


def test_a_study_that_says_what_its_model_was_trained_on_compares_its_sources_with_it(
    make_workspace: Callable[[], Workspace],
) -> None:
    workspace = make_workspace()
    assert dry_run(workspace, "--config", "preset=tiny", "--", "all")["compare_sources"] == 1
    assert dry_run(workspace, "--config", "preset=tiny", "trained_on=[]", "--", "all")["compare_sources"] == 0
    table = "data/tiny/similarity/harbour.parquet"
    workspace.run("-m", "snakemake", "--cores", "1", "--quiet", "all", "--config", "preset=tiny", "--", table)
    rows = pl.read_parquet(workspace.folder / table)
    assert set(rows["reference"]) == {"harbour"}
    assert sorted(rows["source"]) == ["orchard", "quarry"]


def test_make_study_takes_a_presets_name(workspace: Workspace) -> None:
    """Its Snakemake plans what Snakemake plans by itself for that preset."""
    result = workspace.run("workflow/study.py", "--config", "tiny", "--target", "figure5", "--", "-n", "-q", "rules")
    assert "The pages of figure5 are in reports/tiny" in result.stdout
    found = dict(re.findall(r"^(\w+) +(\d+)$", result.stdout + result.stderr, re.MULTILINE))
    planned = dry_run(workspace, "--config", "preset=tiny", "--", "figure5")
    assert {rule: int(count) for rule, count in found.items() if rule != "total"} == planned


def test_an_unknown_target_is_answered_with_those_that_there_are(workspace: Workspace) -> None:
    with pytest.raises(
        AssertionError,
        match=r"no target tabel2 .did you mean table2.*; there are all, .*paper, table1, table2, .*similarity",
    ):
        dry_run(workspace, "--config", "preset=tiny", "--", "tabel2")


def test_targets_run_to_their_end_and_their_files_say_what_was_run(workspace: Workspace) -> None:
    study_targets(workspace, "tiny", "table4", "figure5", "similarity")
    report = workspace.folder / "reports" / "tiny"
    for target in ("table4", "figure5", "similarity"):
        promised(report / target)
    results = pl.read_parquet(report / "table4" / "results.parquet")
    written = results.filter(pl.col("origin") == "synthetic")
    assert set(written["source"]) == {"orchard"}
    assert sorted(set(written["drop"])) == [0, 0.2, 0.4]
    scores = pl.read_csv(report / "figure5" / "figures" / "figure5.csv")
    assert set(scores.filter(pl.col("origin") == "synthetic")["source"]) == {"orchard"}
    assert set(scores["source"]) == {"harbour", "orchard", "quarry"}
    alike = pl.read_parquet(report / "similarity" / "figures" / "similarity.parquet")
    assert len(alike) == 3 * 2
    # Nothing was made for a target that was not asked for.
    masks = {path.name for path in (workspace.folder / "data/tiny/masks").rglob("*.safetensors")}
    assert masks == {"wanda-0.6.safetensors"}


@pytest.mark.slow
def test_every_target_runs_and_no_job_does_what_another_did(make_workspace: Callable[[], Workspace]) -> None:
    workspace = make_workspace()
    study_targets(workspace, "tiny", "paper")
    evaluated: set[str] = set()
    for target in target_files():
        promised(workspace.folder / "reports" / "tiny" / target)
        index = json.loads((workspace.folder / f"data/tiny/index/{target}.json").read_text())
        evaluated |= {run["evaluation"] for run in index["runs"]}
    made = (workspace.folder / "data/tiny/evaluations").rglob("*.json")
    assert {str(p.relative_to(workspace.folder)) for p in made if ".provenance." not in p.name} == evaluated
    folder = workspace.folder / "reports" / "tiny" / PAPER
    promised(folder)
    together = json.loads((workspace.folder / f"data/tiny/index/{PAPER}.json").read_text())
    assert sorted(run["evaluation"] for run in together["runs"]) == sorted(evaluated)
    page = (folder / "index.html").read_text()
    for target in target_files():
        assert f'<section id="{target}">' in page
        link = re.search(rf'href="(\.\./{target}/index\.html)"', page)
        assert link is not None
        assert (folder / link[1]).is_file()
    again = study_targets(workspace, "tiny", "paper")
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.slow
def test_the_whole_paper_is_planned_within_half_a_minute_and_no_job_twice(workspace: Workspace) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    found = dry_run(workspace, "--config", "preset=dclm-7b", "--", "paper")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 30
    distinct, asked = set(), 0
    for target in target_files():
        of_target = runs(target_config({"preset": "dclm-7b", "experiment": "sources"}, target))
        distinct |= set(of_target)
        asked += len(of_target)
    assert found["evaluate"] + found["evaluate_dense"] == len(distinct) < asked
    masks = {run for run in distinct if run.method != "dense"}
    assert found["prune"] + found["prune_without_data"] == len(masks)
    sets = {run.calibration for run in distinct if run.calibration}
    assert found["sample"] == len({key for key in sets if key.origin == "real"})


def promised(folder: Path) -> None:
    """The files that every target makes, and at least one table or figure."""
    for name in ("index.html", "summary.md", "results.parquet", "results.csv", "provenance.json"):
        assert (folder / name).stat().st_size > 0, folder / name
    products = list(folder.glob("tables/*.md")) + list(folder.glob("figures/*.svg"))
    assert products, folder
    for path in folder.glob("tables/*.md"):
        assert path.with_suffix(".tex").exists()
        assert path.with_suffix(".csv").exists()
    for path in folder.glob("figures/*.svg"):
        assert "has nothing for this figure" not in path.read_text(), path
        for suffix in (".png", ".csv", ".parquet"):
            assert path.with_suffix(suffix).exists()
