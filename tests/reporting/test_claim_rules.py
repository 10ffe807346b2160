"""The rules of the conclusions, each in a simulated world with the deviations that are seen."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from claim_worlds import (
    BY_NAME,
    LUCK,
    RANK,
    SD,
    SOURCES,
    STUDY,
    WORLDS,
    Studies,
    World,
    by_rank,
    generated,
    grid,
    judge,
    level,
    scope_of,
    wikipedia_below,
)
from scipy import stats

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.answers import alike, every, some
from calibrant.reporting.inference.claims import CLAIMS
from calibrant.reporting.inference.conclusions import judge_study
from calibrant.reporting.inference.contrasts import Contrast, Margin, contrast, question_of, repeatability
from calibrant.reporting.inference.source_claims import against_baseline, beforehand
from calibrant.reporting.results.cells import Cell, Text
from calibrant.reporting.results.published import published_tables as published
from calibrant.reporting.results.study_results import StudyResults


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Sources are fixed.


def published_world() -> World:
    """The means of Table 2: four sources, three methods, real and generated text, 20 sets of each."""
    rows = published.tables().filter((pl.col("table") == "2") & (pl.col("task") == "average"))
    means = {(r["method"], r["source"], r["origin"]): r["mean"] for r in rows.iter_rows(named=True)}
    cells = [c for c in grid(methods=("wanda", "dsnot", "owl")) if (c.method, c.source, c.origin) in means]
    assert len(cells) == 24
    mean = lambda c: means[c.method, c.source, c.origin]  # noqa: E731
    return World(cells, mean, mean, seeds=20)


def test_generated_beats_real_is_about_these_sources_with_the_reach_beside_it() -> None:
    """Four published gains have p = 0.052 as a sample of sources; over sets of these sources there is no doubt."""
    world = published_world()
    truth = [
        np.mean([world.holds(c) for c in world.cells if (c.source, c.origin) == (s, "synthetic")])
        - np.mean([world.holds(c) for c in world.cells if (c.source, c.origin) == (s, "real")])
        for s in SOURCES
    ]
    assert stats.ttest_1samp(truth, 0).pvalue == pytest.approx(0.052, abs=5e-4)
    for seed in range(5):
        found = judge("generated_beats_real", world.results("holds", rng(seed)))
        assert found.verdict == "holds"
        shown = found.answer.shown
        assert shown is not None
        assert shown.estimate.mean == pytest.approx(np.mean(truth), abs=0.1)
        assert shown.replicates == "Welch t over 20 sets of each of 8 texts"
        assert shown.reach is not None
        assert shown.reach.p == pytest.approx(0.052, abs=0.02)
        assert shown.reach.low is not None
        assert shown.estimate.low is not None
        assert shown.reach.low < 0.1 < shown.estimate.low  # it decides nothing


@pytest.mark.parametrize(("sources", "there"), [(2, False), (3, True)])
def test_a_reach_needs_three_sources_with_both_texts(sources: int, there: bool) -> None:
    world = World(grid(sources=SOURCES[:sources]), generated(1.0), level)
    shown = judge("generated_beats_real", world.results()).answer.shown
    assert shown is not None
    assert (shown.reach is not None) == there
    data = world.results()
    scope = scope_of(data)
    texts = scope.texts(scope.models("0.6"), "real")
    unbalanced = contrast(data, scope.outcome, scope.models("0.6"), dict.fromkeys(texts.values(), 1.0), "")
    assert unbalanced is not None
    assert unbalanced.reach is None  # a sum is no difference that each source could have


# Only sources that have every value enter.


def test_any_prefix_takes_only_the_sources_that_have_every_length() -> None:
    """p = 4 on four sources, other lengths on one: as if that one were all. The others are far worse than real text."""
    truth = lambda c: 60 + {None: 0, 1: 1, 4: 1 if c.source == "wikipedia" else -3, 64: 0.5}[c.prefix_length]  # noqa: E731
    alone = grid(sources=["wikipedia"], prefixes=(1, 4, 64))
    cells = [*alone, *(c for c in grid() if c not in alone)]
    frame = World(cells, truth, truth).frame("holds", rng())
    both = []
    for rows in (frame, frame.filter(pl.col("source").is_null() | (pl.col("source") == "wikipedia"))):
        data = StudyResults(rows, STUDY)
        both += [judge(name, data) for name in ("any_prefix_beats_real", "short_prefixes_beat_long")]
    for one, other in zip(both[:2], both[2:], strict=True):
        assert one.verdict == other.verdict == "holds"
        assert one.answer.contrasts == other.answer.contrasts
    assert {c.source for c in both[0].answer.cells} == {"wikipedia"}


# Alike: within what two sets of one text differ by.


def paper_alike(seeds: int) -> World:
    return World(grid(methods=("wanda", "dsnot", "owl"), origins=["synthetic"]), level, level, seeds=seeds)


def test_the_margin_is_the_repeatability_limit() -> None:
    world = paper_alike(20)
    data = world.results()
    scope = scope_of(data)
    models = scope.models("0.6", "synthetic")
    texts = list(scope.texts(models, "synthetic").values())
    margin = repeatability(data, scope.outcome, models, texts)
    by_hand = []
    for text in texts:
        sets = np.mean([list(data.scores(text.cell(*m), scope.outcome).values()) for m in models], axis=0)
        by_hand.append(sets.var(ddof=1))
    assert margin is not None
    assert margin.value == pytest.approx(2.77 * math.sqrt(np.mean(by_hand)))
    assert margin.df == 4 * 19
    true = SD * math.sqrt(LUCK + (1 - LUCK) / 3)
    pairs = rng(1).normal(0, true, (20_000, 2))
    assert (abs(pairs[:, 0] - pairs[:, 1]) < 2.77 * true).mean() == pytest.approx(0.95, abs=0.006)
    assert repeatability(world.results(seeds=1), scope.outcome, models, texts) is None


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("alike_whatever_source", paper_alike(20)),
        ("spread_small_below_half", replace(WORLDS["spread_small_below_half"], seeds=20)),
        ("amount_does_not_matter", replace(WORLDS["amount_does_not_matter"], seeds=20)),
        ("heavy_filtering_falls_back", replace(WORLDS["heavy_filtering_falls_back"], seeds=20)),
    ],
)
def test_a_true_zero_is_found_in_the_papers_design_with_high_power(name: str, world: World) -> None:
    """Beside all of its family, too: at a 25th of 0.05."""
    studies, generator = Studies(world), rng(2)
    found = [judge(name, studies.draw(generator)) for _ in range(25)]
    assert [j.verdict for j in found] == ["holds"] * 25
    assert sum((j.answer.p or 0) < 0.05 / 25 for j in found) >= 24


def test_an_undecided_one_says_what_would_decide_it_and_that_is_so() -> None:
    """The power that is told is that at a true zero, which simulation finds as often."""
    studies, generator = Studies(paper_alike(3)), rng(3)
    found = [judge("alike_whatever_source", studies.draw(generator)) for _ in range(60)]
    undecided = [j for j in found if j.verdict == "undecided"]
    told = [
        re.fullmatch(
            r"power to show it to be within ± [\d.]+ points in each of 6 differences, after correction: "
            r"(?:at least|under) "
            r"(\d+) % with 3 sets(; (\d+) sets of each text suffice for 80 %|)",
            j.would_decide,
        )
        for j in undecided
    ]
    assert undecided
    assert all(told)
    assert all(j.would_decide == "" for j in found if j.verdict == "holds")
    needed = [int(match[3]) for match in told if match and match[3]]
    enough, generator = Studies(paper_alike(round(float(np.median(needed))))), rng(4)
    held = [judge("alike_whatever_source", enough.draw(generator)).verdict == "holds" for _ in range(40)]
    assert np.mean(held) >= 0.8  # "at least": Bonferroni's inequality over six differences


# A contrast chosen beforehand.


def test_stricter_patterns_are_compared_by_wikipedia_against_the_rest() -> None:
    world = WORLDS["spread_grows_with_structure"]
    data = world.results()
    scope = scope_of(data)
    shown = judge("spread_grows_with_structure", data).answer.shown
    assert shown is not None
    assert shown.label == "other sources minus Wikipedia, 2:4 against 50 %"
    gaps = {}
    for sparsity in ("0.5", "2:4"):
        means = {
            s: np.mean([list(data.scores(t.cell(m, sparsity), scope.outcome).values()) for m in data.methods])
            for s, t in scope.texts(scope.models(sparsity), "real").items()
        }
        gaps[sparsity] = np.mean([v for s, v in means.items() if s != "wikipedia"]) - means["wikipedia"]
    assert shown.estimate.mean == pytest.approx(gaps["2:4"] - gaps["0.5"])
    assert "4:8" not in {c.target for c in shown.cells}
    chosen = beforehand(scope, scope.texts(scope.models("2:4"), "real"))
    assert chosen is not None
    assert sorted(chosen[1].values()) == pytest.approx([-1, 1 / 3, 1 / 3, 1 / 3])
    assert beforehand(scope, {"c4": Text("c4", "real")}) is None
    assert beforehand(scope, {"wikipedia": Text("wikipedia", "real")}) is None


@pytest.mark.parametrize("steps", [(-0.1, -0.7), (-0.7, -0.1), (0.2, -0.5)])
def test_a_gap_of_the_other_sign_leaves_it_open(steps: tuple[float, float]) -> None:
    """Wikipedia above the rest in the harder setting, more or less than in the other: not as was said beforehand."""
    for name in ("spread_grows_with_structure", "spread_grows_with_sparsity"):
        world = WORLDS[name]
        ends = dict(zip(("0.5", "2:4"), steps, strict=True)) | {"4:8": 0.0, "0.6": steps[1]}
        changed = replace(world, holds=by_rank(lambda c, e=ends: e[c.target]))  # type: ignore[misc]
        found = judge(name, changed.results("holds"))
        assert (found.verdict, found.reason) == ("undecided", "the difference shown is not all that the rule asks for")
        assert found.answer.shown is not None
        assert found.answer.shown.estimate.excludes_zero  # a change was found


def test_similarity_is_a_linear_trend_over_ranks() -> None:
    world = WORLDS["similarity_ranks_sources"]
    data = world.results("holds", rng(6))
    scope = scope_of(data)
    models = scope.models("2:4")
    values = {
        RANK[s]: np.mean([list(data.scores(t.cell(*m), scope.outcome).values()) for m in models])
        for s, t in scope.texts(models, "real").items()
    }
    shown = judge("similarity_ranks_sources", data, **world.options).answer.shown
    assert shown is not None
    assert shown.estimate.mean == pytest.approx(np.polyfit(list(values), list(values.values()), 1)[0])
    assert shown.label == "each rank of similarity, 2:4"
    # A bow over the ranks has no trend.
    bow = {"wikipedia": 60, "slimpajama": 61, "c4": 61, "dclm": 60}
    bowed = replace(world, holds=lambda c: bow[c.source or ""]).results("holds", rng(7))
    assert judge("similarity_ranks_sources", bowed, **world.options).verdict == "undecided"


# Contrasts: paired only where rows are shared, sets of one source are one source to methods.


def test_the_same_text_at_other_settings_is_paired_and_different_texts_are_not() -> None:
    """What a seed's rows bring to all amounts cancels; what it brings to two texts of one seed is never paired."""
    world = World(grid(("2:4",), origins=["real"], samples=(128, 2048), methods=["wanda"]), level, level)
    luck = rng(8).normal(0, 5, (len(SOURCES), 8))
    frame = world.frame("holds", rng(9))
    place = {s: i for i, s in enumerate(SOURCES)}
    moved = [
        value + (0 if source is None or task == "fiction" else luck[place[source], seed] / 100)
        for value, source, seed, task in frame.select("value", "source", "seed", "task").iter_rows()
    ]
    data = StudyResults(frame.with_columns(pl.Series("value", moved)), STUDY)
    scope = scope_of(data)
    models = {("wanda", "2:4"): 1.0}
    one, other = (Text("c4", "real", n) for n in (128, 2048))
    paired = scope.contrast(models, {other: 1.0, one: -1.0}, "")
    assert paired is not None
    x, y = (np.array(list(data.scores(t.cell("wanda", "2:4"), scope.outcome).values())) for t in (other, one))
    test = stats.ttest_rel(x, y)
    assert paired.estimate.p == pytest.approx(test.pvalue)
    assert paired.estimate.df == 7
    assert paired.replicates == "paired t over 8 sets of each of 2 texts"
    apart = scope.contrast(models, {one: 1.0, one._replace(source="dclm"): -1.0}, "")
    z = list(data.scores(one._replace(source="dclm").cell("wanda", "2:4"), scope.outcome).values())
    welch = stats.ttest_ind(y, z, equal_var=False)
    assert apart is not None
    assert apart.estimate.p == pytest.approx(welch.pvalue)
    assert apart.estimate.df == pytest.approx(welch.df)


def test_sets_of_one_source_count_as_one_to_methods() -> None:
    """A method that suits two of four sources: no number of sets tells what it is on average over sources."""
    truth = lambda c: 60 + (c.method == "dsnot") * (0.6 if c.source in ("c4", "dclm") else -0.2)  # noqa: E731
    for seeds in (5, 80):
        data = World(grid(), truth, truth).results("holds", rng(10), seeds=seeds)
        scope = scope_of(data)
        found = against_baseline(scope, "0.6", "dsnot", "wanda")
        assert found is not None
        each = []
        for source in SOURCES:
            sets = []
            for origin in ("real", "synthetic"):
                text = scope.texts({("wanda", "0.6"): 1.0}, origin)[source]
                x, y = (data.scores(text.cell(m, "0.6"), scope.outcome) for m in ("dsnot", "wanda"))
                sets += [x[s] - y[s] for s in x]
            each.append(np.mean(sets))
        assert found.estimate.p == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
        assert (found.estimate.n, found.estimate.df) == (4, 3)
        assert found.estimate.low is not None
        assert found.estimate.low < 0 < found.estimate.mean
        assert found.replicates == f"t over 4 sources, {8 * seeds} sets"


def test_a_question_is_the_same_either_way_round() -> None:
    measure = scope_of(World(grid(), level, level).results()).outcome
    one, other = (Text("c4", origin, 128) for origin in ("synthetic", "real"))
    models = {("wanda", "0.6"): 1.0}
    asked, turned = question_of(measure, models, {one: 1.0, other: -1.0}, 0.5)
    opposite, back = question_of(measure, models, {other: 1.0, one: -1.0}, -0.5)
    assert asked == opposite
    assert turned != back
    assert question_of(measure, models, {one: 1.0, other: -1.0})[0] != asked


# Combinations, against the intervals of which they are made.


def made(*ends: tuple[float, float]) -> list[Contrast]:
    """Contrasts with these intervals, of 20 degrees of freedom."""
    measure = scope_of(World(grid(), level, level).results()).outcome
    found = []
    for i, (low, high) in enumerate(ends):
        error = (high - low) / 2 / statistics.quantile(20)
        question, _ = question_of(measure, {("wanda", "0.6"): 1.0}, {Text(f"s{i}", "real"): 1.0})
        found.append(Contrast(f"{i}", statistics.by_t((low + high) / 2, error, 20, 21), "points", "t", 5, question))
    return found


@pytest.mark.parametrize(
    ("answer", "side", "shown"),
    [
        (every(made((1, 2), (0.1, 3))), "holds", "1"),
        (every(made((1, 2), (-0.1, 3))), "", "1"),
        (every(made((1, 2), (-5, -3))), "does not hold", "1"),
        (every(made((1, 2), (-3, -0.1))), "", "1"),  # below zero, not after Bonferroni's correction
        (every(made((-0.5, 2)), Margin(1.0)), "holds", "0"),
        (some(made((-2, -1), (3, 5))), "holds", "1"),
        (some(made((-2, -1), (0.1, 5))), "", "1"),
        (some(made((-2, -1), (-4, -0.1))), "does not hold", "1"),
        (alike(made((-0.9, 0.5), (-0.2, 0.3)), Margin(1.0)), "holds", "0"),
        (alike(made((-1.1, 0.5), (-0.2, 0.3)), Margin(1.0)), "", "0"),
        (alike(made((4, 5), (-0.2, 0.3)), Margin(1.0)), "does not hold", "0"),
        (alike(made((1.1, 5), (-0.2, 0.3)), Margin(1.0)), "", "0"),
    ],
)
def test_rules_by_intervals(answer: Any, side: str, shown: str) -> None:
    assert answer.shown.label == shown
    assert (answer.side if answer.p < 0.05 else "") == side


def test_nothing_is_said_of_half_a_question() -> None:
    one, other = made((1, 2), (1, 2))
    assert every([one, None]).reason == "no such runs in this study"
    assert every([]).p is None
    assert alike([one], None).reason == "too few sets: no spread between sets to be alike within"
    bare = replace(other, estimate=statistics.estimate([2.0]), sets=1)
    answer = some([one, bare])
    assert (answer.p, answer.shown, answer.reason) == (None, bare, "too few seeds: one set gives no interval (1)")
    flat = replace(other, estimate=statistics.estimate([2.0, 2.0]), sets=2)
    assert every([flat]).reason == "no spread at all between sets (1)"


# One family.


def test_the_studys_own_comparisons_are_members_of_the_family() -> None:
    world = World(grid(("0.5", "0.6", "2:4")), generated(0.1), level, seeds=5)
    results = world.results("holds", rng(12))
    alone, family = judge_study(results, own=False), judge_study(results)
    assert alone is not None
    assert family is not None
    assert alone.own == []
    assert family.tested == alone.tested + len(family.own)
    p = [j.answer.p for j in (*family.claims, *family.own)]
    assert [j.p_holm for j in (*family.claims, *family.own)] == pytest.approx(statistics.holm(p))
    changed = 0
    for one, other in zip(alone.claims, family.claims, strict=True):
        assert one.answer == other.answer
        if one.p_holm is not None:
            assert other.p_holm is not None
            assert other.p_holm >= one.p_holm
            changed += other.p_holm > one.p_holm
    assert changed
    names = [j.claim.name for j in family.own]
    assert "alike real" in names
    assert {n for n in names if n.startswith("gain")} == {
        *(f"gain fiction_perplexity {s}" for s in ("0.5", "2:4")),
        *(f"gain average {s}" for s in ("0.5", "2:4")),
    }  # at 60 % both are conclusions of the paper, and count once
    assert [n for n in names if n.startswith("method")] == [
        f"method fiction_perplexity {s} dsnot" for s in ("2:4", "0.6", "0.5")
    ]


def test_more_claims_in_the_family_ask_for_more() -> None:
    """What holds alone at p = 0.03 does not beside the study's own comparisons."""
    world = World(grid(methods=["wanda"]), generated(0.1), level, seeds=5)
    studies, generator = Studies(world), rng(13)
    for _ in range(200):
        data = studies.draw(generator)
        alone = judge("generated_beats_real", data)
        if alone.answer.p is not None and 0.02 < alone.answer.p < 0.045 and alone.verdict == "holds":
            break
    family = judge_study(data, claims=[BY_NAME["generated_beats_real"]])
    assert family is not None
    assert (alone.verdict, family.claims[0].verdict) == ("holds", "undecided")
    assert family.claims[0].reason.startswith(f"not below 0.05 after Holm's correction over {family.tested} tests")
    assert family.tested == 3  # with that on perplexity, and real texts among each other


def test_an_answer_of_every_claim_is_independent_of_the_others() -> None:
    data = World(grid(), generated(0.3), level).results()
    whole = judge_study(data)
    assert whole is not None
    answers: Mapping[str, Any] = {j.claim.name: j.answer for j in whole.claims}
    assert [answers[c.name] for c in CLAIMS] == [judge(c.name, data).answer for c in CLAIMS]


def test_wikipedia_below_is_a_gap_that_is_found() -> None:
    world = World(grid(("2:4",), origins=["real"]), wikipedia_below(1), level)
    shown = judge("quality_does_not_rank", world.results()).answer.shown
    assert shown is not None
    assert shown.estimate.mean == pytest.approx(1, abs=0.3)
    assert Cell("wanda", "2:4", "wikipedia", "real", 128) in shown.cells
