"""`auto` is resolved once for a study, and no stage can compute in another format than what was written down."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from workspace import SMALL_STUDY, Workspace

pytestmark = pytest.mark.smoke

FILE = "data/mine/number-format.json"
ARTEFACTS = "generated/* scores/*/* sets/*-p* statistics/* masks/*/* evaluations/*/* inspections/*/*".split()
RUN_THE_MODEL = {"generate", "score", "dense_statistics", "prune", "prune_without_data", "evaluate", "evaluate_dense"}


def dtypes(value: Any) -> Iterator[str]:
    """Every `dtype` in a piece of JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "dtype":
                yield item
            yield from dtypes(item)
    elif isinstance(value, list):
        for item in value:
            yield from dtypes(item)


def metadata(path: Path) -> Any:
    if path.suffix == ".parquet":
        return json.loads(pq.read_schema(path).metadata[b"calibrant"])
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["calibrant"])
    return json.loads(path.read_text())


def formats(workspace: Workspace) -> dict[str, set[str]]:
    """The number formats that each artefact records, by the artefact's path below the study's folder."""
    folder = workspace.folder / "data" / "mine"
    found = {}
    for pattern in (
        "generated/*",
        "scores/*/*",
        "sets/*-p*",
        "statistics/*",
        "masks/*/*",
        "evaluations/*/*",
        "inspections/*/*",
    ):
        for path in folder.glob(pattern):
            kind = path.parent.relative_to(folder).parts[0]
            told = path.name.endswith(".provenance.json") or kind not in ("evaluations", "inspections")
            if told and path.suffix in (".parquet", ".safetensors", ".json"):
                found[str(path.relative_to(folder))] = set(dtypes(metadata(path)))
    return found


def test_every_artefact_records_the_format_that_the_study_resolved(finished_study: Workspace) -> None:
    resolved = json.loads((finished_study.folder / FILE).read_text())["dtype"]
    found = formats(finished_study)
    kinds = {name.split("/")[0] for name in found}
    assert kinds == {"generated", "scores", "sets", "statistics", "masks", "evaluations", "inspections"}
    assert {name: format for name, format in found.items() if format != {resolved}} == {}
    summary = (finished_study.folder / "reports/mine/summary.md").read_text()
    assert f"{resolved} (auto: " in summary


@pytest.fixture
def begun(finished_study: Workspace, tmp_path: Path) -> Workspace:
    """The finished study on another machine: there auto was another format than here."""
    workspace = Workspace(tmp_path / "begun")
    shutil.copytree(finished_study.folder, workspace.folder, symlinks=True)
    workspace.configure({**copy.deepcopy(SMALL_STUDY), "grids": [{"methods": ["wanda", "owl"], "targets": ["0.5"]}]})
    file = workspace.folder / FILE
    elsewhere = {"dtype": "bfloat16", "hardware": "processor of another kind", "reason": "its units compute it"}
    file.write_text(json.dumps({**json.loads(file.read_text()), **elsewhere}))
    return workspace


def test_stages_take_the_format_of_the_machine_where_the_study_began(begun: Workspace) -> None:
    ours = RUN_THE_MODEL - {"prune_without_data", "evaluate_dense"}
    assert begun.planned() >= ours
    for folder in ("statistics", "masks", "evaluations", "inspections", "scores", "sets", "generated"):
        shutil.rmtree(begun.folder / "data/mine" / folder)
    begun.make_study()
    found = formats(begun)
    assert len(found) > 10
    assert {name: format for name, format in found.items() if format != {"bfloat16"}} == {}
    logs = (begun.folder / "data/mine/logs").rglob("*.log")
    said = [log for log in logs if "number format bfloat16: the study resolved auto to it on pro" in log.read_text()]
    assert {log.parent.name if log.parent.parent.name == "logs" else log.parent.parent.name for log in said} >= {
        "evaluate", "prune", "generate", "statistics", "score", "inspect"
    }  # fmt: skip
    assert "bfloat16 (auto: its units compute it)" in (begun.folder / "reports/mine/summary.md").read_text()
    assert begun.planned() == set()


def test_a_given_format_needs_no_file(finished_study: Workspace) -> None:
    finished_study.configure({**copy.deepcopy(SMALL_STUDY), "compute": {"dtype": "float32"}})
    try:
        assert finished_study.planned() >= RUN_THE_MODEL  # the setting changed from auto
        assert "number_format" not in finished_study.planned("--forceall")
    finally:
        finished_study.configure(SMALL_STUDY)
