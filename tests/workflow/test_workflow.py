"""The whole workflow on a tiny model: what it makes, and what an edit reruns."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from workspace import SMALL_STUDY, Workspace

pytestmark = pytest.mark.smoke


def changed(**sections: Any) -> dict[str, Any]:
    config = copy.deepcopy(SMALL_STUDY)
    for key, value in sections.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value  # type: ignore[dict-item]
    return config


def test_every_promised_file_is_there(finished_study: Workspace) -> None:
    report = finished_study.folder / "reports" / "mine"
    for name in ("index.html", "summary.md", "results.parquet", "snakemake-report.html"):
        assert (report / name).stat().st_size > 0
    results = json.loads((finished_study.folder / "data/mine/evaluations/none/dense-0.json").read_text())
    assert {row["task"] for row in results} == {"other", "next_sentence_stories"}
    assert not list(finished_study.folder.glob("data/**/*.partial"))
    assert not list(finished_study.folder.rglob("pwned*"))


def test_a_second_run_does_nothing(finished_study: Workspace) -> None:
    result = finished_study.make_study()
    assert "Nothing to be done" in result.stdout + result.stderr


def test_touched_files_rerun_nothing(finished_study: Workspace) -> None:
    for path in [finished_study.folder / "Snakefile", *finished_study.folder.glob("workflow/**/*")]:
        os.utime(path)
    for path in finished_study.folder.glob("src/**/*.py"):
        os.utime(path)
    assert finished_study.planned() == set()


@pytest.mark.parametrize(
    ("module", "reruns", "keeps"),
    [
        ("reporting/inference/statistics.py", {"summarize"}, {"evaluate", "prune", "generate"}),
        ("pruning/methods/selection.py", {"prune", "evaluate"}, {"generate", "score", "sample", "draw"}),
        ("calibration/windows.py", {"sample"}, {"generate", "download_model"}),
        ("sources/cleaning.py", {"download_source"}, set()),
    ],
)
def test_editing_a_module_reruns_the_stages_that_use_it(
    finished_study: Workspace, module: str, reruns: set[str], keeps: set[str]
) -> None:
    path = finished_study.folder / "src" / "calibrant" / module
    original = path.read_text()
    try:
        path.write_text(original + "\n\n_EDITED = True\n")
        planned = finished_study.planned()
    finally:
        path.write_text(original)
    assert reruns <= planned
    assert not (keeps & planned)


@pytest.mark.parametrize(
    ("change", "reruns", "keeps"),
    [
        ({"filter": {"drop": 0.5}}, {"draw", "dense_statistics", "prune"}, {"generate", "score", "sample"}),
        ({"calibration": {"sets": "pool"}}, {"sample", "filter", "draw", "prune"}, {"generate"}),
        (
            {
                "grids": [
                    {"methods": ["dense"]},
                    {"methods": ["magnitude", "wanda", "owl"], "targets": ["0.5", "2:4"]},
                ]
            },
            {"prune", "evaluate"},
            {"generate", "score", "sample", "draw", "dense_statistics", "evaluate_dense"},
        ),
        ({"generation": {"temperature": 0.9}}, {"generate", "score"}, {"sample", "evaluate_dense"}),
        ({"evaluation": {"text_tokens": 256}}, {"evaluate", "evaluate_dense"}, {"prune", "generate"}),
        ({"seeds": 2}, {"sample", "draw", "prune"}, {"generate"}),
    ],
)
def test_changing_a_setting_reruns_what_it_concerns(
    finished_study: Workspace, change: dict[str, Any], reruns: set[str], keeps: set[str]
) -> None:
    try:
        finished_study.configure(changed(**change))
        planned = finished_study.planned()
    finally:
        finished_study.configure(SMALL_STUDY)
    assert reruns <= planned
    assert not (keeps & planned)


def test_samples_that_end_early_are_packed(finished_study: Workspace) -> None:
    ends = {"study": "ends", "generation": {"end_of_text": "stop", "samples": 24}}
    made = finished_study.folder / "data/ends/sets/stories-p4-d0.2-n4-s0.parquet"
    try:
        finished_study.configure(changed(**ends))
        planned = finished_study.planned()
        finished_study.snakemake("--", str(made.relative_to(finished_study.folder)))
    finally:
        finished_study.configure(SMALL_STUDY)
    assert "pack" in planned
    assert "draw" not in planned
    assert {len(row) for row in pq.read_table(made)["input_ids"].to_pylist()} == {32}


def test_a_misspelt_key_stops_before_anything_runs(finished_study: Workspace) -> None:
    try:
        finished_study.configure(changed(generaton={"top_k": 3}))
        result = finished_study.snakemake("--dry-run", check=False)
    finally:
        finished_study.configure(SMALL_STUDY)
    assert result.returncode != 0
    assert "unknown key generaton (did you mean generation?)" in result.stdout + result.stderr


def test_a_lost_file_is_made_again_with_the_same_bytes(finished_study: Workspace) -> None:
    lost = [
        finished_study.folder / "data/mine" / name
        for name in ("sets/stories-p4-d0.2-n4-s0.parquet", "masks/stories-p4-d0.2-n4-s0/wanda-0.5.safetensors")
    ]
    before = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    finished_study.snakemake("sets", "masks")
    assert [path.read_bytes() for path in lost] == before


def test_jobs_a_second_are_limited_only_where_that_is_asked_for(finished_study: Workspace) -> None:
    told = finished_study.folder / "told.smk"
    told.write_text('include: "Snakefile"\n\n\nonsuccess:\n    print("limit:", workflow.scheduler.job_rate_limiter)\n')
    lost = finished_study.folder / "data/mine/sets/stories-p4-d0.2-n4-s0.parquet"
    for arguments, unlimited in (((), True), (("--max-jobs-per-timespan", "7/1s"), False)):
        lost.unlink()
        result = finished_study.snakemake("--snakefile", "told.smk", *arguments, "--", "sets")
        assert ("limit: None" in result.stdout) is unlimited
        assert ("JobRateLimiter" in result.stdout) is not unlimited


def test_temporary_statistics_go_with_their_last_mask_and_nothing_is_missing_then(finished_study: Workspace) -> None:
    data = finished_study.folder / "data/mine"
    statistics, masks = list(data.glob("statistics/*.safetensors")), list(data.glob("masks/*/owl-0.5.safetensors"))
    assert statistics
    before = [path.read_bytes() for path in masks]
    for path in masks:
        path.unlink()
    try:
        finished_study.configure(changed(storage={"statistics": "temporary"}))
        finished_study.snakemake("masks")
        assert not [path for path in statistics if path.exists()]
        assert [path.read_bytes() for path in masks] == before
        assert "dense_statistics" not in finished_study.planned()
        assert "Nothing to be done" in finished_study.snakemake("masks").stderr
    finally:
        finished_study.configure(SMALL_STUDY)


def test_lint_is_clean(finished_study: Workspace) -> None:
    result = finished_study.snakemake("--lint", check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_artefacts_name_no_path_of_this_machine(finished_study: Workspace) -> None:
    needle = str(finished_study.folder).encode()
    made = [p for p in Path(finished_study.folder / "data/mine").rglob("*") if p.is_file() and not p.is_symlink()]
    skipped = {"logs", "benchmarks"}
    guilty = [p for p in made if not skipped & set(p.parts) and needle in p.read_bytes()]
    assert guilty == []
