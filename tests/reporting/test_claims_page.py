"""The conclusions on the report's page: there where one could be tested, absent otherwise."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from calibrant.reporting.inference.claims import CLAIMS
from calibrant.reporting.inference.conclusions import judge_study
from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.index import read_index
from calibrant.reporting.results.result_frame import collect
from calibrant.reporting.results.samples import read_scores
from calibrant.reporting.results.study_results import StudyResults

HEADING = "What these runs decide"


def test_the_page_has_the_conclusions_before_what_else_the_numbers_say(study: Any, tmp_path: Path) -> None:
    index = read_index(study.write())
    summarize(index, tmp_path, rows=0)
    page = (tmp_path / "index.html").read_text()
    places = [page.index(f'id="{anchor}"') for anchor in ("figures", "claims", "findings", "tables", "untested")]
    assert places == sorted(places)
    # What is too long for a column stands below its row: the table fits a narrow window.
    judged = judge_study(StudyResults(collect(index.runs), index.study), read_scores(index.scores))
    assert judged is not None
    undecided = sum(j.answer.p is not None and j.verdict == "undecided" for j in (*judged.claims, *judged.own))
    table = page[page.index('id="claims"') :].split("</table>")[0]
    assert "Read from" not in table.split("</thead>")[0]
    assert table.count('<tr class="below">') == table.count('<th scope="row">') == judged.tested
    assert table.count("<b>Rule, or why undecided</b>") == judged.tested
    assert table.count("<b>What would decide it</b>") == undecided
    summary = (tmp_path / "summary.md").read_text()
    assert summary.index(f"## {HEADING}") < summary.index("## What else the numbers say") < summary.index("## Tables")
    missing = [j for j in judged.claims if j.answer.p is None]
    last = html.unescape(page[page.index('id="untested"') :]).replace("\xa0", " ")
    assert [j.claim.name for j in missing if f"<li>{j.claim.statement} (section" not in last] == []
    assert len(missing) + judged.tested - len(judged.own) == len(CLAIMS)
    frame = pl.read_csv(tmp_path / "tables" / "claims.csv")
    assert len(frame) == judged.tested
    assert frame["interval_low"].null_count() == 0
    assert set(frame["verdict"]) <= {"holds", "does not hold", "undecided"}
    assert "paper" not in frame.columns  # another model than the paper's


def test_a_study_that_tests_nothing_has_no_such_section(make_study: Callable[..., Any], tmp_path: Path) -> None:
    fake = make_study(sources=("web",), origins=("real",), seeds=1)
    summarize(read_index(fake.write()), tmp_path / "report", rows=0)
    assert 'id="claims"' not in (tmp_path / "report" / "index.html").read_text()
    assert HEADING not in (tmp_path / "report" / "summary.md").read_text()
    assert "nothing for this table" in (tmp_path / "report" / "tables" / "claims.md").read_text()
