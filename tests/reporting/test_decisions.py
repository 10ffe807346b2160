"""Each question of a page is decided once, and each statistic of a page is one number."""

import csv
import io
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from claim_worlds import BY_NAME, World, generated, grid, judge_all, level, scope_of, text_scores
from support import ROOT

from calibrant.reporting.figures.min_k_figure import min_k_caption, min_k_figure
from calibrant.reporting.inference.conclusions import judge_study
from calibrant.reporting.inference.contrasts import Contrast, Question
from calibrant.reporting.inference.decisions import Decided, Decisions, counted
from calibrant.reporting.inference.generated_claims import gain, gains
from calibrant.reporting.inference.statistics import holm
from calibrant.reporting.pages.study_page import study_report
from calibrant.reporting.tables.data_table import data_table
from calibrant.reporting.tables.min_k_table import min_k_table
from calibrant.reporting.tables.table_files import to_csv

sys.path.insert(0, str(ROOT / "reports/kept"))
from again import KEPT, kept_inputs


def contrasts_of(world: World) -> dict[str, Contrast]:
    scope = scope_of(world.results())
    return gains(scope, "0.6", "wanda")


def test_a_family_is_corrected_together_and_a_question_keeps_its_first_decision() -> None:
    found = contrasts_of(World(grid(), generated(0.15), level, seeds=5))
    decisions = Decisions()
    first = decisions.family(found)
    p = [c.estimate.p for c in found.values()]
    assert [d.p_holm for d in first.values()] == pytest.approx(holm(p))
    assert len(set(p)) == 4
    name = max(found, key=lambda key: found[key].estimate.p or 0)
    assert decisions.single(found[name]) == first[name]
    assert Decisions().single(found[name]).p_holm == found[name].estimate.p
    assert decisions.family({"none": None, "one": found[name]}) == {"one": first[name]}


def test_the_opposite_orientation_is_the_same_question() -> None:
    scope = scope_of(World(grid(), generated(1.0), level).results())
    forth = gain(scope, "0.6")
    assert forth is not None
    models, texts = scope.models("0.6"), dict(forth.question.texts)
    back = scope.contrast(models, {t: -w for t, w in texts.items()}, "real minus generated")
    assert back is not None
    if back.estimate.mean > 0:
        back = scope.contrast(models, texts, "real minus generated")
    assert back is not None
    assert back.question == forth.question
    assert back.turned != forth.turned
    decisions = Decisions()
    decided = [decisions.single(c) for c in (forth, back)]
    assert [d.side for d in decided] == [1, -1]
    assert decided[0].p_holm == decided[1].p_holm


def test_conclusions_are_decided_first() -> None:
    """A claim of one contrast keeps its p; one of several contrasts, or of equivalence, decides no single question."""
    world = World(grid(drops=(0.0, 0.2, 0.5)), generated(0.1), level, seeds=5)
    judged = judge_study(world.results())
    assert judged is not None
    decisions = Decisions(judged)
    by_name = {j.claim.name: j for j in judged.claims}
    told = by_name["generated_beats_real"]
    assert told.answer.shown is not None
    assert told.p_holm != told.answer.p
    assert decisions.single(told.answer.shown).p_holm == told.p_holm
    for name in ("generated_beats_every_source", "heavy_filtering_falls_back"):
        shown = by_name[name].answer.shown
        assert shown is not None
        assert shown.question not in Decisions(judged).p_values
    assert Decisions(None).p_values == {}


def test_each_measure_is_a_family_of_its_own() -> None:
    data = World(grid(), generated(0.1), level, seeds=5).results()
    both = {o: gains(scope_of(data, o), "0.6", "wanda") for o in ("average", "fiction")}
    mixed = {(o, s): c for o, found in both.items() for s, c in found.items()}
    decided = Decisions().families(mixed)
    for o, found in both.items():
        assert [decided[o, s].p_holm for s in found] == pytest.approx(holm([c.estimate.p for c in found.values()]))


def test_no_side_is_named_at_chance_or_without_a_test() -> None:
    contrast = next(iter(contrasts_of(World(grid(), generated(1.0), level)).values()))
    assert Decided(contrast, 0.01).side == 1
    assert Decided(contrast, 0.05).side == 0
    assert Decided(contrast, None).side == 0
    assert Decided(replace(contrast, readable=False), 0.01).side == 0
    worse = replace(contrast, estimate=replace(contrast.estimate, mean=-1.0))
    assert Decided(worse, 0.01).side == -1
    assert counted([Decided(contrast, 0.01), Decided(worse, 0.01), Decided(worse, 0.2)]) == (1, 1, 1)


def test_a_question_of_a_page_has_one_p(monkeypatch: pytest.MonkeyPatch) -> None:
    p_values: dict[Question, set[float | None]] = defaultdict(set)
    family = Decisions.family

    def watched(decisions: Decisions, contrasts: Mapping[Any, Contrast | None]) -> dict[Any, Decided]:
        found = family(decisions, contrasts)
        for decided in found.values():
            p_values[decided.contrast.question].add(decided.p_holm)
        return found

    monkeypatch.setattr(Decisions, "family", watched)
    inputs = kept_inputs(KEPT / "five-seeds")
    study_report(inputs, real_text=False, rows=0)
    judged = judge_study(inputs.data)
    assert judged is not None
    for j in (*judged.claims, *judged.own):
        if len(j.answer.contrasts) == 1 and j.answer.margin is None:
            p_values[j.answer.contrasts[0].question].add(j.p_holm)
    assert len(p_values) > 20
    assert {len(values) for values in p_values.values()} == {1}


LABELS = {"c4": "C4", "wikipedia": "Wikipedia", "slimpajama": "SlimPajama", "dclm": "DCLM"}


def scores_of(written: tuple[str, ...], rows: int = 41) -> pl.DataFrame:
    """Scores with ties, an even and an odd number of rows, rows in two sets, and one that is not finite."""
    scores = text_scores(np.random.default_rng(3), 0.4, rows=rows).with_columns(pl.col("min_k_plus_plus").round(2))
    scores = scores.filter((pl.col("origin") == "real") | pl.col("source").is_in(written))
    twice = scores.filter(pl.col("sample_id") < 5).with_columns(pl.lit(1, pl.Int64).alias("seed"))
    broken = scores.head(1).with_columns(pl.lit(float("nan")).alias("min_k_plus_plus"))
    return pl.concat([scores, twice, broken])


@pytest.mark.parametrize("rows", [40, 41])
def test_medians_of_the_data_table_the_min_k_table_and_the_figure_agree(rows: int) -> None:
    scores = scores_of(("wikipedia",), rows)
    data = {r["row"]: r for r in csv.DictReader(io.StringIO(to_csv([data_table(LABELS, [], scores)])))}
    [table] = min_k_table(scores, LABELS)
    columns = [column.key for column in table.columns]
    shown = {row.label: dict(zip(columns, row.cells, strict=True)) for s in table.sections for row in s.rows}
    figure = min_k_figure(scores, LABELS)
    assert figure is not None
    marks = sorted(
        float(np.asarray(line.get_xdata())[0])
        for line in figure.axes[0].lines
        if len(np.asarray(line.get_xdata())) == 1
    )
    for name, label in LABELS.items():
        median = shown[label]["median"]
        assert float(data[label]["min_k_real"]) == pytest.approx(median, abs=5e-3)  # type: ignore[arg-type]
        values = scores.filter((pl.col("source") == name) & (pl.col("origin") == "real")).unique("sample_id")
        assert median == pytest.approx(float(values["min_k_plus_plus"].median()))  # type: ignore[arg-type]
    assert float(data["Wikipedia"]["min_k_generated"]) == shown["self-generated"]["median"]
    assert marks == pytest.approx(sorted(r["median"] for r in shown.values()))  # type: ignore[type-var]


def test_how_often_generated_text_is_higher_is_one_number() -> None:
    """In the conclusion, the table and the caption."""
    scores = scores_of(("wikipedia",))
    [claim] = judge_all([BY_NAME["generated_has_higher_min_k"]], World([], level, level).results(), scores=scores)
    assert claim.answer.shown is not None
    estimate = claim.answer.shown.estimate
    [table] = min_k_table(scores, LABELS)
    columns = [column.key for column in table.columns]
    rows = [
        dict(zip(columns, row.cells, strict=True)) for s in table.sections for row in s.rows if row.label == "Wikipedia"
    ]
    assert [row["higher"] for row in rows] == [estimate.mean]
    assert [row["interval"] for row in rows] == [estimate]
    assert f"{estimate.mean:+.1f}" in min_k_caption(scores, LABELS)
