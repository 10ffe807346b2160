"""Claims against simulated studies of which the truth is known."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from claim_worlds import (
    BY_NAME,
    SIMILARITY,
    STUDY,
    WORLDS,
    Studies,
    World,
    generated,
    grid,
    judge,
    judge_all,
    level,
    scope_of,
    text_scores,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from calibrant.errors import InputError
from calibrant.reporting.inference.claims import CLAIMS, Claim
from calibrant.reporting.inference.conclusions import Judgement, judge_study
from calibrant.reporting.inference.scope import to_training
from calibrant.reporting.results.outcome import choose_outcome
from calibrant.reporting.results.published import published_tables as published
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.claims_table import claims_table, paper_numbers, untested, verdicts
from calibrant.reporting.tables.table_files import to_csv, to_latex, to_markdown

FROM_RUNS = [claim for claim in CLAIMS if not claim.from_scores]
ALIKE = {
    "spread_small_below_half",
    "amount_does_not_matter",
    "alike_whatever_source",
    "heavy_filtering_falls_back",
}
WITHIN = ALIKE | {"amount_does_not_close_gaps", "matches_training_data"}  # margins that grow with the noise
VERDICTS = {"holds": "holds", "fails": "does not hold"}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def judged(name: str, truth: str = "holds", seed: int = 0, outcome: str | None = None, **changes: float) -> Judgement:
    world = WORLDS[name]
    return judge(name, StudyResults(world.frame(truth, rng(seed), **changes), STUDY), outcome, **world.options)  # type: ignore[arg-type]


def test_every_claim_has_a_world() -> None:
    assert set(WORLDS) == {claim.name for claim in FROM_RUNS}


@pytest.mark.parametrize("claim", FROM_RUNS, ids=lambda c: c.name)
@pytest.mark.parametrize("truth", ["holds", "fails"])
def test_the_truth_is_found(claim: Claim, truth: str) -> None:
    found = judged(claim.name, truth)
    assert found.verdict == VERDICTS[truth], found
    assert (found.reason, found.would_decide) == ("", "")
    assert found.p_holm == found.answer.p
    assert found.answer.rule
    assert found.answer.cells
    assert (found.answer.margin is not None) == (claim.name in WITHIN)
    shown = found.answer.shown
    assert shown is not None
    assert shown in found.answer.contrasts
    assert shown.label


# The conclusion about perplexity itself is not asked where the outcome is one.
ON_PERPLEXITY = [c for c in FROM_RUNS if c.name != "better_language_modelling"]


@pytest.mark.parametrize("claim", ON_PERPLEXITY, ids=lambda c: c.name)
@pytest.mark.parametrize("truth", ["holds", "fails"])
def test_the_truth_is_found_in_perplexities(claim: Claim, truth: str) -> None:
    found = judged(claim.name, truth, outcome="fiction")
    assert found.verdict == VERDICTS[truth], found
    assert found.answer.shown is not None
    assert found.answer.shown.unit == ("log ratio" if claim.name.startswith("deviation") else "% of perplexity")


@pytest.mark.parametrize("claim", [c for c in FROM_RUNS if c.name not in WITHIN], ids=lambda c: c.name)
def test_noise_leaves_a_claim_undecided(claim: Claim) -> None:
    world = WORLDS[claim.name]
    if world.deviations is not None:  # here noise is the matter itself: take a world without a difference
        world = World(world.cells, level, level, seeds=12)
    noise = 45.0 if WORLDS[claim.name].deviations is None else 1.0
    found = judge(claim.name, world.results("holds", rng(4), noise=noise), **world.options)
    assert found.verdict == "undecided"
    assert found.reason
    assert found.would_decide.startswith("power to find")


@pytest.mark.parametrize("name", ["spread_small_below_half", "alike_whatever_source"])
def test_two_seeds_are_too_few_for_each_pair_to_be_alike(name: str) -> None:
    found = judged(name, seed=2, seeds=2)
    assert found.verdict == "undecided"
    assert "power to show it to be within" in found.would_decide


@pytest.mark.parametrize("claim", FROM_RUNS, ids=lambda c: c.name)
def test_one_seed_decides_nothing(claim: Claim) -> None:
    """Sources are fixed: their number does not stand for sets."""
    found = judged(claim.name, seeds=1)
    assert (found.verdict, found.answer.p, found.would_decide) == ("undecided", None, "")
    assert "seed" in found.reason or "no gap between sources is established" in found.reason


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.name)
def test_a_study_without_such_runs_says_so(claim: Claim) -> None:
    found = judge(claim.name, World([], level, level).results())
    assert (found.verdict, found.answer.p, found.answer.shown) == ("undecided", None, None)
    assert found.reason
    assert found.answer.cells == ()


def test_nothing_is_read_where_pruned_models_only_guess() -> None:
    """Alike because all guess is not alike."""
    world = World(grid(origins=["synthetic"]), lambda c: 25.0, lambda c: 25.0)
    found = judge("alike_whatever_source", world.results())
    assert (found.verdict, found.answer.p) == ("undecided", None)
    assert "most of these pruned models are not above chance" in found.reason
    assert judge("alike_whatever_source", world.results(), outcome="fiction").verdict == "holds"


def test_guessing_is_recognised_by_the_number_of_items_too() -> None:
    world = World(grid(origins=["synthetic"]), lambda c: 25.0, lambda c: 25.0)
    frame = world.frame("holds", rng())
    for items, guessing in ((57, True), (10**9, False)):
        counted = frame.with_columns(pl.lit(None, pl.Float64).alias("stderr"), pl.lit(items, pl.Int64).alias("n"))
        pruned = counted.with_columns((pl.col("value") + 3e-2 * (pl.col("method") != "dense")).alias("value"))
        found = judge("alike_whatever_source", StudyResults(pruned, STUDY))
        assert ("most of these pruned models are not above chance" in found.reason) == guessing


def test_nothing_is_read_from_a_task_on_which_the_dense_model_guesses() -> None:
    guess = (pl.col("method") == "dense") & (pl.col("task") == "arc_easy")
    frame = WORLDS["generated_beats_real"].frame("holds", rng())
    frame = frame.with_columns(pl.when(guess).then(0.25).otherwise(pl.col("value")).alias("value"))
    data = StudyResults(frame, STUDY)
    found = judge("generated_beats_real", data, outcome="arc_easy")
    assert (found.verdict, found.reason) == ("undecided", "the dense model is not above chance: accuracy on ARC-e")
    chosen = choose_outcome(data)
    assert chosen is not None
    assert chosen.task == "fiction"  # one readable task is no average


def test_a_constant_answer_to_boolq_is_guessing_and_recorded_chance_wins() -> None:
    """Always "yes" is right for 2033 of 3270 questions: a dense model at 0.62 is no better."""
    frame = WORLDS["generated_beats_real"].frame("holds", rng())
    dense = pl.when(pl.col("method") == "dense").then(0.62).otherwise(pl.col("value"))
    boolq = frame.filter(pl.col("task") != "fiction").with_columns(
        pl.col("task").replace("arc_easy", "boolq"),
        pl.when(pl.col("task") == "arc_easy").then(dense).otherwise(pl.col("value")).alias("value"),
    )
    for recorded, guessing in ((None, True), (0.5, False), (0.62, True)):
        chance = pl.when(pl.col("task") == "boolq").then(pl.lit(recorded, pl.Float64)).alias("chance")
        data = StudyResults(boolq.with_columns(chance), STUDY)
        assert ([m.task for m in data.at_chance] == ["boolq"]) == guessing
        found = judge("generated_beats_real", data, outcome="boolq")
        assert (found.reason == "the dense model is not above chance: accuracy on BoolQ") == guessing
        assert (found.verdict == "holds") != guessing


def test_outcomes_are_chosen_by_name() -> None:
    frame = WORLDS["generated_beats_real"].frame("holds", rng(), seeds=2)
    for name, task in ((None, "average"), ("average", "average"), ("fiction", "fiction"), ("hellaswag", "hellaswag")):
        chosen = choose_outcome(StudyResults(frame, STUDY), name)
        assert chosen is not None
        assert chosen.task == task
    with pytest.raises(InputError, match="outcome mmlu: the study has no such measure; it has average, fiction"):
        judge_study(StudyResults(frame, STUDY), outcome="mmlu")
    assert judge_study(StudyResults(frame.clear(), STUDY)) is None


def test_scores_are_per_cent_and_logarithms() -> None:
    world = World(grid(methods=["wanda"], sources=["c4"], origins=["real"]), level, level)
    frame = world.frame("holds", rng(1), seeds=1)
    stored, data, cell = frame.filter(pl.col("method") == "wanda"), StudyResults(frame, STUDY), world.cells[0]
    accuracies = stored.filter(pl.col("task") != "fiction")["value"].to_list()
    assert data.scores(cell, scope_of(data).outcome)[0] == pytest.approx(100 * np.mean(accuracies))
    perplexity = stored.filter(pl.col("task") == "fiction")["value"].item()
    assert data.scores(cell, data.perplexities[0])[0] == pytest.approx(-100 * np.log(perplexity))


def test_a_run_without_one_of_the_tasks_is_left_out() -> None:
    world = World(grid(methods=["wanda"], sources=["c4"], origins=["real"]), level, level)
    frame = world.frame("holds", rng(1), seeds=3)
    frame = frame.filter(~((pl.col("seed") == 1) & (pl.col("task") == "hellaswag")).fill_null(False))
    data = StudyResults(frame, STUDY)
    assert sorted(data.scores(world.cells[0], scope_of(data).outcome)) == [0, 2]


def test_the_main_setting_is_that_of_most_runs_and_then_the_papers() -> None:
    cells = grid(samples=(64, 128), prefixes=(1, 4, 64), drops=(0.0, 0.2))
    assert World(cells, level, level).results(seeds=1).main == (128, 4, 0.2)
    more = [*cells, *grid(samples=(64,), prefixes=(16,), drops=(0.5,), sparsities=["0.5"])]
    assert World(more, level, level).results(seeds=1).main.samples == 64


def test_estimates_equal_differences_computed_by_hand() -> None:
    """The gain is a contrast of eight independent texts; for each source and method Welch's test of two."""
    frame = WORLDS["generated_beats_every_source"].frame("holds", rng(5))
    scores = frame.filter(pl.col("task") != "fiction", pl.col("source").is_not_null())
    scores = scores.group_by("method", "source", "origin", "seed").agg((100 * pl.col("value").mean()).alias("score"))
    data = StudyResults(frame, STUDY)
    sets = scores.group_by("source", "origin", "seed").agg(pl.col("score").mean())
    texts = sets.group_by("source", "origin").agg(pl.col("score").mean(), pl.col("score").var().alias("var"))
    wide = texts.pivot("origin", index="source", values="score")
    differences = (wide["synthetic"] - wide["real"]).to_numpy()
    found = judge("generated_beats_real", data).answer.shown
    assert found is not None
    assert found.estimate.mean == pytest.approx(differences.mean())
    assert found.estimate.error == pytest.approx(np.sqrt((texts["var"] / 8).sum()) / 4)
    assert found.estimate.n == 64
    assert found.reach is not None
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.reach.low, found.reach.high) == pytest.approx((interval.low, interval.high))
    tests = []
    for _, group in scores.group_by("method", "source"):
        one, other = (group.filter(pl.col("origin") == origin)["score"] for origin in ("synthetic", "real"))
        tests.append(stats.ttest_ind(one, other, equal_var=False))
    answer = judge("generated_beats_every_source", data).answer
    assert answer.p_holds == pytest.approx(max(test.pvalue for test in tests))
    assert answer.shown is not None
    assert answer.shown.estimate.p == pytest.approx(answer.p_holds)  # the weakest is shown
    assert answer.shown.reach is None  # one source


def test_the_sparsity_of_the_paper_is_taken_where_it_was_repeated() -> None:
    world = World(grid(("0.5", "0.7", "2:4"), origins=["real"]), level, level)
    frame = world.frame("holds", rng(), seeds=2)
    scope = scope_of(StudyResults(frame, STUDY))
    assert scope.sparsities == ["0.5", "0.7", "2:4"]
    assert [scope.sparsity("0.6"), scope.sparsity("2:4"), scope.sparsity()] == ["0.7", "2:4", "0.7"]
    once = scope_of(StudyResults(frame.filter((pl.col("sparsity") != "2:4") | (pl.col("seed") == 0)), STUDY))
    assert once.sparsity("2:4") == "0.7"


def test_methods_tried_once_do_not_count_beside_repeated_ones() -> None:
    frame = World(grid(), level, level).frame("holds", rng(), seeds=2)
    assert scope_of(StudyResults(frame, STUDY)).methods == ["wanda", "dsnot"]
    tried = frame.filter((pl.col("method") != "dsnot") | (pl.col("seed") == 0))
    assert scope_of(StudyResults(tried, STUDY)).methods == ["wanda"]
    assert scope_of(StudyResults(frame.filter(pl.col("seed") == 0), STUDY)).methods == ["wanda", "dsnot"]


def test_similarities_are_to_training_data_exact_where_known_and_of_one_kind() -> None:
    assert to_training(SIMILARITY, ("dclm",)) == {"c4": 0.070, "slimpajama": 0.016, "wikipedia": 0.008}
    assert to_training(SIMILARITY, ("dclm", "c4")) == {"slimpajama": 0.016, "wikipedia": 0.5}
    assert to_training(SIMILARITY, ()) == {}


@pytest.mark.parametrize(("best", "verdict"), [(60.0, "holds"), (64.0, "does not hold")])
def test_training_data_of_two_sources_count_by_their_mean(best: float, verdict: str) -> None:
    world = WORLDS["generated_beats_training_data"]
    lifted = replace(world, holds=lambda c: best if (c.source, c.origin) == ("c4", "real") else world.holds(c))
    data = StudyResults(lifted.frame("holds", rng()), replace(STUDY, trained_on=("dclm", "c4")))
    found = judge("generated_beats_training_data", data)
    assert found.verdict == verdict
    assert found.answer.shown is not None
    assert found.answer.shown.estimate.mean == pytest.approx(61.15 - (60.3 + best) / 2, abs=0.3)


@pytest.mark.parametrize("name", ["generated_beats_training_data", "matches_training_data"])
def test_without_training_data_nothing_is_compared_with_them(name: str) -> None:
    untrained = StudyResults(WORLDS[name].frame("holds", rng()), replace(STUDY, trained_on=()))
    assert "is known to be the model's training data" in judge(name, untrained).reason


def test_one_source_speaks_for_itself() -> None:
    world = World(grid(sources=["c4"]), generated(1.0), generated(-1.0))
    found = judge("generated_beats_real", world.results())
    assert found.verdict == "holds"
    assert found.answer.shown is not None
    assert found.answer.shown.replicates == "Welch t over 8 sets of each of 2 texts"
    assert found.answer.shown.reach is None


def test_a_gap_that_is_not_there_cannot_fail_to_close() -> None:
    world = World(WORLDS["amount_does_not_close_gaps"].cells, level, level)
    found = judge("amount_does_not_close_gaps", world.results())
    assert found.verdict == "undecided"
    assert "no gap between sources is established" in found.reason


def test_without_a_source_that_is_chosen_beforehand_ends_are_chosen_on_half_of_the_seeds() -> None:
    world = WORLDS["spread_grows_with_sparsity"]
    cells = [cell for cell in world.cells if cell.source != "wikipedia"]
    for truth, verdict in VERDICTS.items():
        found = judge("spread_grows_with_sparsity", replace(world, cells=cells, seeds=12).results(truth))
        assert found.verdict == verdict
        assert found.answer.shown is not None
        assert found.answer.shown.replicates == "t of gaps, chosen on one half of the seeds and measured on 6"


@pytest.mark.parametrize(("shift", "verdict"), [(0.5, "holds"), (-0.5, "does not hold"), (0.0, "undecided")])
def test_min_k(shift: float, verdict: str) -> None:
    data = World([], level, level).results()
    found = judge("generated_has_higher_min_k", data, scores=text_scores(rng(2), shift))
    assert found.verdict == verdict
    assert found.answer.shown is not None
    assert found.answer.shown.unit == "% of pairs, above 50"
    assert found.answer.shown.replicates == "DeLong over 60 and 60 rows"


def test_rows_that_several_sets_share_count_once() -> None:
    scores = text_scores(rng(2), 0.5)
    twice = pl.concat([scores.with_columns(pl.lit(s, dtype=pl.Int64).alias("seed")) for s in (0, 1)])
    data = World([], level, level).results()
    once, again = (judge("generated_has_higher_min_k", data, scores=each) for each in (scores, twice))
    assert again.answer == once.answer


def test_holm_is_over_the_tested_claims() -> None:
    """A p of 0.03 decides alone, and not beside two other tested claims."""
    names = ["generated_beats_real", "generated_beats_every_source", "unfiltered_beats_real"]
    world = World(grid(sources=["c4"], drops=(0.0, 0.2), methods=["wanda"]), generated(0.2), generated(0.2))
    for seed in range(200):
        data = world.results("holds", rng(seed), seeds=6)
        single = judge(names[0], data)
        if single.answer.p is not None and 0.025 < single.answer.p < 0.045:
            break
    assert single.verdict == "holds"
    several = judge_all([BY_NAME[name] for name in (*names, "gain_in_patterns")], data)
    assert several[0].answer.p == single.answer.p
    assert several[0].p_holm is not None
    assert single.answer.p is not None
    assert several[0].p_holm >= 2 * single.answer.p
    assert several[0].verdict == "undecided"
    assert (
        several[0].reason
        == "not below 0.05 after Holm's correction over 3 tests (the interval is of this difference alone)"
    )
    assert several[3].p_holm is None


def shown_side(found: Judgement) -> bool:
    """Whether the shown interval lies where 'holds' needs it."""
    answer = found.answer
    assert answer.shown is not None
    low, high = answer.shown.estimate.low, answer.shown.estimate.high
    assert low is not None
    assert high is not None
    margin = answer.margin or 0.0
    return low > -margin and (high < margin or found.claim.name not in ALIKE)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from([c.name for c in FROM_RUNS]),
    seed=st.integers(0, 2**32 - 1),
    noise=st.floats(0.1, 20),
    seeds=st.integers(1, 6),
    truth=st.sampled_from(["holds", "fails"]),
)
def test_no_verdict_against_its_own_interval(name: str, seed: int, noise: float, seeds: int, truth: str) -> None:
    world = WORLDS[name]
    data = StudyResults(world.frame(truth, rng(seed), noise, seeds), STUDY)
    found = judge(name, data, **world.options)
    if found.verdict == "holds":
        assert shown_side(found)
    elif found.verdict == "does not hold":
        assert not shown_side(found)
    else:
        assert found.reason


# Rates of wrong verdicts, where nothing differs and models vary twice as much at 60 % sparsity.

DIRECTED = [c for c in FROM_RUNS if c.name not in WITHIN]


def studies(name: str, truth: object = level) -> Studies:
    spread = lambda cell: 0.2 if cell.target == "0.6" else 0.1  # noqa: E731
    world = WORLDS[name]
    changed = replace(world, holds=truth, deviations=(spread, spread), magnitude=world.magnitude and 60.0)  # type: ignore[arg-type]
    return Studies(changed, seeds=6)


@pytest.mark.parametrize("claim", DIRECTED, ids=lambda c: c.name)
def test_noise_alone_rarely_decides(claim: Claim) -> None:
    """Either way in at most one study in forty; 60 of them, so 5 or fewer of a kind (99 %)."""
    generator, made = rng(11), studies(claim.name)
    options = WORLDS[claim.name].options
    found = [judge(claim.name, made.draw(generator), **options).verdict for _ in range(60)]
    assert found.count("holds") <= 5
    assert found.count("does not hold") <= 5


@pytest.mark.parametrize("name", sorted(ALIKE))
@pytest.mark.parametrize("share", [0.5, 1.0, 2.0])
def test_inside_at_and_outside_the_margin_few_are_decided_wrongly(name: str, share: float) -> None:
    """At exactly 2.77 deviations at most one study in forty is decided, either way, though the margin is estimated."""
    sd = {"spread_small_below_half": 0.1, "amount_does_not_matter": 0.1}.get(name, 0.2)
    moved = share * 2.77 * sd * np.sqrt(0.75)  # of the mean of two methods that share half of the variance
    truth = {
        "amount_does_not_matter": lambda c: 60 + moved * np.log((c.samples or 1) / 128) / np.log(16),
        "heavy_filtering_falls_back": lambda c: 60 - moved * (c.drop == 0.5),
    }.get(name, lambda c: 60 - moved * (c.source == "wikipedia"))
    generator, made = rng(12), studies(name, truth)
    found = [judge(name, made.draw(generator)).verdict for _ in range(60)]
    if share == 1:
        assert max(found.count("holds"), found.count("does not hold")) <= 5
        return
    wrong, right = ("does not hold", "holds") if share < 1 else ("holds", "does not hold")
    assert found.count(wrong) <= 1
    if name not in ("spread_small_below_half", "alike_whatever_source"):  # of pairs each must be alike, with six seeds
        assert found.count(right) >= 48


def test_the_papers_numbers_stand_beside_its_models_only() -> None:
    claim = BY_NAME["spread_grows_with_sparsity"]
    assert paper_numbers(claim, "apple/DCLM-7B") == (
        "0.5 points: best minus worst of four sources; 2.3 points: best minus worst of four sources"
    )
    assert paper_numbers(claim, "a-model") == ""
    assert paper_numbers(BY_NAME["generated_beats_every_source"], "apple/DCLM-7B").startswith("2.68 points: ")
    every = BY_NAME["generated_beats_real"]
    assert paper_numbers(every, "apple/DCLM-7B") == "+0.37 to +2.68 points, 12 pairs"
    assert paper_numbers(every, "meta-llama/Llama-2-7b") == "+0.01 to +1.06 points, 12 pairs"
    named = {number for claim in CLAIMS for number in claim.numbers}
    assert named <= set(published.numbers()["id"])


@pytest.mark.parametrize(("outcome", "there"), [("average", True), ("fiction", False)])
def test_the_papers_numbers_are_about_accuracies(outcome: str, there: bool) -> None:
    frame = WORLDS["spread_grows_with_sparsity"].frame("holds", rng())
    judged_ = judge_study(StudyResults(frame, replace(STUDY, model_id="apple/DCLM-7B")), outcome=outcome)
    [table] = claims_table(judged_)
    assert ("paper" in [column.key for column in table.columns]) == there


def test_the_table_shows_every_tested_claim_once_in_every_form() -> None:
    found = judge_study(WORLDS["generated_beats_real"].results())
    assert found is not None
    [table] = claims_table(found)
    labels = [row.label for section in table.sections for row in section.rows]
    tested = [j.claim.statement for j in (*found.claims, *found.own) if j.answer.p is not None]
    assert sorted(labels) == sorted(tested)
    assert len(labels) == len(set(labels)) == found.tested
    assert len(untested(found)) + found.tested - len(found.own) == len(CLAIMS)
    assert table.sections[0].heading == "Decided"
    assert "Power is uncorrected" not in table.caption
    for text in (to_markdown(table), to_latex(table), to_csv([table])):
        assert "Self-generated text beats real text on average" in text
    undecided = [row for section in table.sections for row in section.rows if row.cells[1] == "undecided"]
    assert undecided
    assert all(row.cells[-2] for row in undecided)  # what would decide it
    held = sum(j.verdict == "holds" for j in found.claims)
    assert verdicts(found.claims).startswith(f"Of the paper's 25 conclusions {held} hold in these runs")
    assert claims_table(judge_study(World([], level, level).results())) == []
    assert claims_table(None) == []
