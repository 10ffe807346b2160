"""The studies kept in reports/kept, judged again from their results: their verdicts are those that are written down."""

import json
import re
import sys
from pathlib import Path

import pytest
from support import ROOT

from calibrant.reporting.inference.conclusions import judge_study
from calibrant.reporting.results.numbers import number

sys.path.insert(0, str(ROOT / "reports/kept"))
from again import KEPT, kept_inputs

VERDICTS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("kept_verdicts.json").read_text())
CHANGED = ("five-seeds", "realdata", "smollm2-135m", "methods")  # judged by earlier rules before
STUDIES = (*CHANGED, "widths")


@pytest.mark.parametrize("name", STUDIES)
def test_verdicts_of_kept_studies(name: str) -> None:
    inputs = kept_inputs(KEPT / name)
    judged = judge_study(inputs.data, inputs.scores, inputs.similarity)
    assert judged is not None
    found = {j.claim.name: j.verdict for j in (*judged.claims, *judged.own) if j.answer.p is not None}
    assert found == VERDICTS[name]
    if name not in CHANGED:
        return
    page = (KEPT / "verdicts.md").read_text()
    section = page.split(f"## {name}\n")[1].split("\n## ")[0]
    assert f"{judged.tested} tests" in section
    for j in judged.claims:
        row = re.search(rf"^\| {re.escape(j.claim.statement)} \|.*$", section, re.MULTILINE)
        if row and j.answer.shown:
            assert f"| {j.verdict}" in row[0]
            assert number(j.answer.shown.estimate.mean, 1, signed=True) in row[0]


def test_every_kept_study_has_its_verdicts() -> None:
    assert set(VERDICTS) == set(STUDIES)
    assert set(STUDIES) == {path.parent.name for path in KEPT.glob("*/results.csv")}
