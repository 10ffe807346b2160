"""The studies kept in reports/kept, judged again from their results: their verdicts are those that are written down."""

import json
from pathlib import Path

import polars as pl
import pytest
from support import ROOT

from calibrant.reporting.inference.conclusions import gather_and_judge
from calibrant.reporting.results.index import Study, Task
from calibrant.reporting.results.result_frame import COLUMNS
from calibrant.reporting.results.study_results import StudyResults

KEPT = ROOT / "reports/kept"
VERDICTS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("kept_verdicts.json").read_text())
TRAINED = {"realdata": ("dclm",)}


def kept(name: str) -> StudyResults:
    """A kept study's results, with the tasks' metrics as its index had them."""
    frame = pl.read_csv(KEPT / name / "results.csv", schema=COLUMNS, missing_columns="insert")
    built = [task for task in frame["task"].unique(maintain_order=True) if task.startswith("next_sentence")]
    tasks = tuple(Task(task, None, "acc_norm", 0.25) for task in built)
    return StudyResults(frame, Study(name, "m", trained_on=TRAINED.get(name, ()), tasks=tasks))


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_verdicts_of_kept_studies(name: str) -> None:
    judged = gather_and_judge(kept(name))
    assert judged is not None
    assert {j.claim.name: j.verdict for j in judged.judgements if j.p is not None} == VERDICTS[name]
