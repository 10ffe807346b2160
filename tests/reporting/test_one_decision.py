"""No page decides a question twice differently, and no side is named where the measure is at chance."""

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from layout_frames import make_frame, make_study
from support import ROOT

from calibrant.reporting.inference.answers import FAILS, HOLDS
from calibrant.reporting.inference.conclusions import Judged, judge_study
from calibrant.reporting.inference.contrasts import Contrast, Question
from calibrant.reporting.inference.decisions import Decided, Decisions
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.pages.layouts import LAYOUTS
from calibrant.reporting.pages.study_page import study_report
from calibrant.reporting.results.index import Index
from calibrant.reporting.results.samples import SCORES
from calibrant.scoring.corpus_similarity import SIMILARITY
from calibrant.scoring.item_contamination import CONTAMINATION

sys.path.insert(0, str(ROOT / "reports/kept"))
from again import KEPT, kept_inputs

STUDIES = ("five-seeds", "realdata", "smollm2-135m", "methods")


class Record:
    """What a page decided, by question, and where."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sides: dict[Question, set[int]] = defaultdict(set)
        self.places: dict[Question, int] = defaultdict(int)
        self.decided: list[Decided] = []
        family = Decisions.family

        def watched(decisions: Decisions, contrasts: Mapping[Any, Contrast | None]) -> dict[Any, Decided]:
            found = family(decisions, contrasts)
            for decided in found.values():
                self.note(decided.contrast, decided.side)
                self.decided.append(decided)
            return found

        monkeypatch.setattr(Decisions, "family", watched)

    def note(self, contrast: Contrast, side: int) -> None:
        self.sides[contrast.question].add(-side if contrast.turned else side)
        self.places[contrast.question] += 1

    def conclusions(self, judged: Judged | None) -> None:
        for judgement in (*judged.claims, *judged.own) if judged else ():
            answer = judgement.answer
            if len(answer.contrasts) == 1 and answer.margin is None and answer.p is not None:
                side = {HOLDS: 1, FAILS: -1}.get(judgement.verdict, 0)
                self.note(answer.contrasts[0], side)

    def contradictions(self) -> list[Question]:
        return [question for question, sides in self.sides.items() if len(sides) > 1]


@pytest.mark.parametrize("name", STUDIES)
def test_a_kept_study_decides_each_question_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record, inputs = Record(monkeypatch), kept_inputs(KEPT / name)
    study_report(inputs, real_text=False, rows=0)
    record.conclusions(judge_study(inputs.data, inputs.scores, inputs.similarity))
    assert record.contradictions() == []
    if name == "smollm2-135m":  # one method: its row of all sources is a conclusion
        assert max(record.places.values()) > 1  # a question that stands in two places, or nothing is tested here
    guessed = {measure.key for measure in inputs.data.at_chance}
    assert not [d for d in record.decided if d.contrast.question.measure in guessed and d.side]


def page_inputs(**changes: Any) -> Inputs:
    grid = {
        "methods": ("wanda", "dsnot"),
        "tasks": ("boolq", "piqa"),
        "sources": ("c4", "wikipedia", "dclm"),
        "seeds": 4,
    }
    settings = {"samples": (64, 128), "prefixes": (1, 4, 64), "drops": (0, 0.2)}
    frame = make_frame(**{**grid, "sparsities": ("0.5", "0.6", "2:4"), **settings, **changes})
    empty = [pl.DataFrame(form.schema.empty_table()) for form in (SIMILARITY, CONTAMINATION)]
    return Inputs(Index(make_study(), ()), frame, pl.DataFrame(schema=SCORES), *empty, {})  # type: ignore[arg-type]


def test_the_page_of_all_targets_decides_each_question_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page of `snakemake paper`: the conclusions, then every table and figure."""
    record, inputs = Record(monkeypatch), page_inputs()
    judged = judge_study(inputs.data, inputs.scores, inputs.similarity)
    decisions = Decisions(judged)
    for layout in LAYOUTS.values():
        layout.build(Inputs(**{**vars_of(inputs), "decisions": decisions}))
    record.conclusions(judged)
    assert record.contradictions() == []
    assert sum(count > 1 for count in record.places.values()) > 10


def vars_of(inputs: Inputs) -> dict[str, Any]:
    names = ("index", "frame", "scores", "similarity", "contamination", "sidecars", "shared")
    return {name: getattr(inputs, name) for name in names}


def test_a_task_at_chance_names_no_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task's accuracy is that of guessing, and self-generated text is far better on one of them by luck."""
    record = Record(monkeypatch)
    frame = page_inputs(tasks=("boolq", "piqa")).frame
    lucky = pl.when(pl.col("origin").eq_missing(pl.lit("synthetic")) & (pl.col("task") == "piqa"))
    dense = pl.when(pl.col("method") == "dense").then(0.5)
    frame = frame.with_columns(
        lucky.then(pl.col("value") + 0.1).otherwise(dense.otherwise(pl.col("value"))).alias("value")
    )
    empty = [pl.DataFrame(form.schema.empty_table()) for form in (SIMILARITY, CONTAMINATION)]
    inputs = Inputs(Index(make_study(), ()), frame, pl.DataFrame(schema=SCORES), *empty, {})  # type: ignore[arg-type]
    assert {m.task for m in inputs.data.at_chance} == {"boolq", "piqa"}
    report = study_report(inputs, real_text=False, rows=0)
    on_piqa = [d for d in record.decided if d.contrast.question.measure.startswith("piqa")]
    assert on_piqa
    assert {d.side for d in on_piqa} == {0}
    assert any(d.p_holm is not None and d.p_holm < 0.05 for d in on_piqa)  # a test alone would have named one
    told = [row.cells[-1] for t in report.tables["differences_by_task"] for s in t.sections for row in s.rows]
    assert set(told) <= {"at chance", None}


def test_the_kept_script_is_beside_its_studies() -> None:
    assert Path(KEPT) == ROOT / "reports/kept"
