"""The claims on the report's page: there where one could be tested, absent otherwise, the same bytes each time."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support import ROOT

from calibrant.reporting.inference.conclusions import CLAIMS
from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.index import read_index

HEADING = "The paper's conclusions, judged by these runs"


def test_the_page_has_the_claims_behind_the_findings(study: Any, tmp_path: Path) -> None:
    index = read_index(study.write())
    for folder in ("one", "two"):
        summarize(index, tmp_path / folder, rows=0)
    page, again = ((tmp_path / folder / "index.html").read_text() for folder in ("one", "two"))
    assert page == again
    assert page.index('id="findings"') < page.index('id="claims"') < page.index('id="tables"')
    # What is too long for a column stands below its row: the table fits a narrow window.
    table = page[page.index('id="claims"') :].split("</table>")[0]
    assert "Read from" not in table.split("</thead>")[0]
    assert table.count('<tr class="below">') == table.count('<th scope="row">') == len(CLAIMS)
    assert table.count("<b>Rule, or why undecided</b>") == len(CLAIMS)
    summary = (tmp_path / "one" / "summary.md").read_text()
    assert summary.index("## What else the numbers say") < summary.index(f"## {HEADING}") < summary.index("## Tables")
    frame = pl.read_csv(tmp_path / "one" / "tables" / "claims.csv")
    decided = frame.filter(pl.col("section") != "Not tested in this study")
    assert decided["interval_low"].null_count() == 0
    assert set(frame["verdict"]) <= {"holds", "does not hold", "undecided"}
    # Generated text is lower in perplexity but for one source: never "holds for every source".
    every = frame.filter(pl.col("row").str.starts_with("Self-generated text beats its source"))
    assert every["verdict"].item() != "holds"
    assert "paper" not in frame.columns  # another model than the paper's


def test_the_example_of_the_page_of_claims_runs(
    study: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/claims.md").read_text(), re.DOTALL)
    monkeypatch.chdir(study.folder)
    place = Path("data/STUDY/index.json")
    place.parent.mkdir(parents=True)
    study.write().rename(place)
    exec(compile(block, "docs/claims.md", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [claim.name for claim in CLAIMS]


def test_a_study_that_tests_no_claim_has_no_such_section(make_study: Callable[..., Any], tmp_path: Path) -> None:
    fake = make_study(sources=("web",), origins=("real",), seeds=1)
    summarize(read_index(fake.write()), tmp_path / "report", rows=0)
    assert 'id="claims"' not in (tmp_path / "report" / "index.html").read_text()
    assert HEADING not in (tmp_path / "report" / "summary.md").read_text()
    assert "nothing for this table" in (tmp_path / "report" / "tables" / "claims.md").read_text()
