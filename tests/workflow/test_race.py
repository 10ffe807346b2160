"""A race through the workflow, on a random model of two layers: rounds, the answer, and what is rerun."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from workspace import Workspace, write_documents

from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.sample_set import read_calibration_set
from calibrant.pruning.masks.mask_file import read_masks

pytestmark = pytest.mark.smoke

CHOOSE: dict[str, Any] = {
    "for": {"use": {}},
    "guard": ["other"],
    "target": "0.5",
    "origins": ["real"],
    "reference": "reports",
    "budget": [8],
    "tokens": 400,
    "own": False,
}
STUDY: dict[str, Any] = {
    "preset": "tiny",
    "study": "mine",
    "model": {"path": "tiny-llama"},
    "sources": {
        "stories": {"files": ["stories.jsonl"]},
        "reports": {"files": ["reports.jsonl"]},
        "short": {"files": ["short.jsonl"]},
        "broken": {"files": ["broken.jsonl"]},
    },
    "texts": {"use": {"files": ["use.jsonl"]}, "other": {"files": ["other.jsonl"]}},
    "tasks": {},
    "calibration": {"samples": 4, "length": 32},
    "generation": {"samples": "enough", "batch_size": 8},
    "evaluation": {"length": 32},
    "grids": [],
    "choose": CHOOSE,
}
SET_FILES = ("set.parquet", "set.jsonl", "set.txt", "masks.safetensors", "answer.json")


@pytest.fixture(scope="module")
def raced(make_workspace: Callable[[], Workspace], tiny_model_dir: Path) -> Workspace:
    workspace = make_workspace()
    shutil.copytree(tiny_model_dir, workspace.folder / "tiny-llama")
    for name, count, seed in (
        ("stories", 60, 11),
        ("reports", 50, 12),
        ("short", 1, 3),
        ("use", 60, 4),
        ("other", 30, 5),
    ):
        write_documents(workspace.folder / f"{name}.jsonl", count, seed)
    used = (workspace.folder / "use.jsonl").read_text().splitlines()[:2]
    with (workspace.folder / "stories.jsonl").open("a") as file:
        file.write("\n".join(used) + "\n")
    (workspace.folder / "broken.jsonl").write_text('{"text": "a document"}\n{"text": ')
    run(workspace, STUDY)
    return workspace


def run(workspace: Workspace, study: dict[str, Any]) -> str:
    workspace.configure(study)
    result = workspace.run("workflow/study.py", "--config", "my.yaml", "--target", "answer", "--", "--cores", "2")
    return result.stderr + result.stdout


def answer_of(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.folder / "reports/mine/answer.json").read_text())
    return found


def facts_of(workspace: Workspace) -> dict[str, Any]:
    last = workspace.folder / f"data/mine/choice/rounds/{answer_of(workspace)['rounds']}.json"
    found: dict[str, Any] = json.loads(last.read_text())["facts"]
    return found


def test_the_answer_is_one_of_the_measured_sets(raced: Workspace) -> None:
    answer, folder = answer_of(raced), raced.folder / "reports/mine"
    assert answer["text"] in ("stories", "reports")
    assert (answer["sets"], answer["stopped"]) == (8, "budget")
    own = f"{answer['text']}-real-n4-s{answer['number']}"
    data = raced.folder / "data/mine"
    assert sha256_file(folder / "set.parquet") == sha256_file(data / f"sets/{own}.parquet")
    assert sha256_file(folder / "masks.safetensors") == sha256_file(data / f"masks/{own}/wanda-0.5.safetensors")
    assert read_masks(folder / "masks.safetensors").metadata["calibration_sha256"] == sha256_file(
        folder / "set.parquet"
    )
    rows = read_calibration_set(folder / "set.parquet")
    assert rows.input_ids.shape == (4, 32)
    assert len((folder / "set.jsonl").read_text().splitlines()) == 4
    assert "stories" in (folder / "dataset/README.md").read_text()


def test_the_answer_is_valued_on_documents_that_took_no_part(raced: Workspace) -> None:
    data = raced.folder / "data/mine/choice"
    halves = [
        set(pq.read_table(data / f"parts/use/{part}.parquet")["doc_id"].to_pylist()) for part in ("selection", "test")
    ]
    assert not halves[0] & halves[1]
    assert len(halves[0] | halves[1]) == 60
    answer = answer_of(raced)
    assert answer["low"] <= answer["gain"] <= answer["high"]
    guard = answer["guards"][0]
    assert guard["name"] == "other"
    assert min(guard["dense"], guard["chosen"], guard["reference"]) > 1


def test_judging_documents_are_kept_out_of_every_set(raced: Workspace) -> None:
    pool = pq.read_table(raced.folder / "data/mine/choice/pools/stories.parquet")["text"].to_pylist()
    used = [json.loads(line)["text"] for line in (raced.folder / "use.jsonl").read_text().splitlines()]
    assert not set(pool) & set(used)
    kept_out = {each["source"]: each["documents"] for each in facts_of(raced)["kept_out"]}
    assert kept_out == {"stories": 2}


def test_a_source_of_which_no_set_can_be_drawn_is_out_with_the_reason(raced: Workspace) -> None:
    out = {each["name"]: each["reason"] for each in facts_of(raced)["candidates"] if each["state"] == "refused"}
    assert set(out) == {"short", "broken"}
    assert "2 are needed" in out["short"]
    assert "broken.jsonl" in out["broken"]
    page = (raced.folder / "reports/mine/index.html").read_text()
    assert "2 are needed" in page


def test_a_raised_budget_goes_on_and_computes_nothing_again(raced: Workspace) -> None:
    data = raced.folder / "data/mine"
    before = {path: path.stat().st_mtime_ns for path in [*data.glob("masks/**/*"), *data.glob("evaluations/**/*")]}
    first = json.loads((data / "choice/rounds/1.json").read_text())["facts"]["looks"]
    said = run(raced, {**STUDY, "choose": {**CHOOSE, "budget": [8, 12]}})
    assert "of at most 12 sets" in said
    assert answer_of(raced)["sets"] > 8
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert json.loads((data / "choice/rounds/1.json").read_text())["facts"]["looks"] == first
    files = {name: sha256_file(raced.folder / "reports/mine" / name) for name in SET_FILES}
    (raced.folder / "reports/mine/answer.json").unlink()
    run(raced, {**STUDY, "choose": {**CHOOSE, "budget": [8, 12]}})
    assert {name: sha256_file(raced.folder / "reports/mine" / name) for name in SET_FILES} == files


def test_options_an_existing_set_and_text_of_its_own_race_too(raced: Workspace) -> None:
    shutil.copy(raced.folder / "reports/mine/set.parquet", raced.folder / "my-set.parquet")
    choose = {
        **CHOOSE,
        "method": "sparsegpt",
        "origins": ["real", "synthetic"],
        "options": {"sparsegpt.damping": [0.01, 0.1]},
        "reference": "my-set.parquet",
        "own": True,
        "guard": [],
        "budget": [16],
        "apply": True,
    }
    study = {**STUDY, "study": "mine", "sources": {"stories": STUDY["sources"]["stories"]}, "choose": choose}
    run(raced, study)
    answer = answer_of(raced)
    assert answer["method"] == "sparsegpt"
    assert answer["reference"]["text"].startswith("my-set")
    names = {each["name"].partition(" (")[0] for each in facts_of(raced)["candidates"]}
    assert names == {"stories", "your own text", "my-set"}
    folder = raced.folder / "reports/mine"
    read_masks(folder / "masks.safetensors").check(weights=True)
    assert (folder / "model/config.json").is_file()
    assert "sparsegpt" in (folder / "model/README.md").read_text()
