"""Claims against simulated studies of which the truth is known."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from calibrant.reporting.inference.evidence import Evidence, gather, to_training
from claim_worlds import SIMILARITY, SOURCES, STUDY, WORLDS, World, generated, grid, text_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.errors import InputError
from calibrant.reporting.inference.conclusions import CLAIMS, Claim, Judgement, judge
from calibrant.reporting.results.cells import Cell
from calibrant.reporting.results.published import published_tables as published
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.claims_table import claims_table
from calibrant.reporting.tables.table_files import to_csv, to_latex, to_markdown

BY_NAME = {claim.name: claim for claim in CLAIMS}
FROM_RUNS = [claim for claim in CLAIMS if not claim.from_scores]
ALIKE = {"spread_small_below_half": 0.1, "amount_does_not_matter": 0.2, "alike_whatever_source": 0.3}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def evidence(world: World, frame: pl.DataFrame, outcome: str | None = None) -> Evidence:
    found = gather(StudyResults(frame, STUDY), outcome=outcome, **world.options)
    assert found is not None
    return found


def judged(claim: Claim, world: World, frame: pl.DataFrame, outcome: str | None = None) -> Judgement:
    return judge(evidence(world, frame, outcome), "a-model", [claim])[0]


def test_every_claim_has_a_world() -> None:
    assert set(WORLDS) == {claim.name for claim in FROM_RUNS}


@pytest.mark.parametrize("claim", FROM_RUNS, ids=lambda c: c.name)
@pytest.mark.parametrize("truth", ["holds", "fails"])
def test_the_truth_is_found(claim: Claim, truth: str) -> None:
    world = WORLDS[claim.name]
    found = judged(claim, world, world.frame(truth, rng()))
    assert found.verdict == {"holds": "holds", "fails": "does not hold"}[truth], found
    assert found.estimate is not None
    assert found.reason == ""
    assert found.p_holm == found.p
    assert found.rule
    assert "models" in found.runs


# Perplexity has margins of its own (2 %), within which these worlds' differences do not lie.
ON_PERPLEXITY = [c for c in FROM_RUNS if c.name not in ALIKE]


@pytest.mark.parametrize("claim", ON_PERPLEXITY, ids=lambda c: c.name)
@pytest.mark.parametrize("truth", ["holds", "fails"])
def test_the_truth_is_found_in_perplexities(claim: Claim, truth: str) -> None:
    world = WORLDS[claim.name]
    found = judged(claim, world, world.frame(truth, rng()), outcome="fiction")
    assert found.verdict == {"holds": "holds", "fails": "does not hold"}[truth], found
    assert found.paper == ""


@pytest.mark.parametrize("claim", FROM_RUNS, ids=lambda c: c.name)
def test_noise_leaves_a_claim_undecided(claim: Claim) -> None:
    world = WORLDS[claim.name]
    if world.deviations is not None:  # here noise is the matter itself: take a world without a difference
        world = World(world.cells, world.holds, world.fails, seeds=12)
    found = judged(claim, world, world.frame("holds", rng(3), noise=300.0 if world.deviations is None else 1.0))
    assert found.verdict == "undecided"
    assert found.reason


@pytest.mark.parametrize("claim", FROM_RUNS, ids=lambda c: c.name)
def test_one_seed_decides_nothing_about_just_these_sources(claim: Claim) -> None:
    world = WORLDS[claim.name]
    found = judged(claim, world, world.frame("holds", rng(), seeds=1))
    over_sources = "t over" in found.test  # sources as replicates need no second seed
    assert found.verdict == ("holds" if over_sources else "undecided")
    if not over_sources:
        assert "seed" in found.reason
        assert found.p is None


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.name)
def test_a_study_without_such_runs_says_so(claim: Claim) -> None:
    bare = World([], holds=lambda c: 0, fails=lambda c: 0)
    found = judged(claim, bare, bare.frame("holds", rng()))
    assert (found.verdict, found.p, found.estimate) == ("undecided", None, None)
    assert found.reason
    assert found.runs == ""


def test_nothing_is_read_where_pruned_models_only_guess() -> None:
    """Alike because all guess is not alike."""
    world = World(grid(origins=["synthetic"]), holds=lambda c: 25.0, fails=lambda c: 25.0)
    frame = world.frame("holds", rng())
    found = judged(BY_NAME["alike_whatever_source"], world, frame)
    assert (found.verdict, found.p) == ("undecided", None)
    assert "most of these pruned models only guess" in found.reason
    assert judged(BY_NAME["alike_whatever_source"], world, frame, outcome="fiction").verdict == "holds"


def test_guessing_is_recognised_by_the_number_of_items_too() -> None:
    world = World(grid(origins=["synthetic"]), holds=lambda c: 25.0, fails=lambda c: 25.0)
    frame = world.frame("holds", rng())
    for items, guessing in ((57, True), (10**9, False)):
        counted = frame.with_columns(pl.lit(None, pl.Float64).alias("stderr"), pl.lit(items, pl.Int64).alias("n"))
        pruned = counted.with_columns((pl.col("value") + 1e-3 * (pl.col("method") != "dense")).alias("value"))
        found = judged(BY_NAME["alike_whatever_source"], world, pruned)
        assert ("most of these pruned models only guess" in found.reason) == guessing


def test_nothing_is_read_from_a_task_on_which_the_dense_model_guesses() -> None:
    world = WORLDS["generated_beats_real"]
    guess = (pl.col("method") == "dense") & (pl.col("task") == "arc_easy")
    frame = world.frame("holds", rng()).with_columns(
        pl.when(guess).then(0.25).otherwise(pl.col("value")).alias("value")
    )
    found = judged(BY_NAME["generated_beats_real"], world, frame, outcome="arc_easy")
    assert (found.verdict, found.reason) == ("undecided", "the dense model only guesses: accuracy on ARC-e")
    chosen = gather(StudyResults(frame, STUDY))
    assert chosen is not None
    assert chosen.outcome.task == "fiction"  # one readable task is no average


def test_outcomes_are_chosen_by_name() -> None:
    world = WORLDS["generated_beats_real"]
    frame = world.frame("holds", rng(), seeds=2)
    for name, task in ((None, "average"), ("average", "average"), ("fiction", "fiction"), ("hellaswag", "hellaswag")):
        assert evidence(world, frame, name).outcome.task == task
    with pytest.raises(InputError, match="outcome mmlu: the study has no such measure; it has average, fiction"):
        gather(StudyResults(frame, STUDY), outcome="mmlu")
    assert gather(StudyResults(frame.clear(), STUDY)) is None


def test_scores_are_per_cent_and_logarithms() -> None:
    world = World(grid(methods=["wanda"], sources=["c4"], origins=["real"]), lambda c: 60, lambda c: 60)
    frame = world.frame("holds", rng(1), seeds=1)
    stored = frame.filter(pl.col("method") == "wanda")
    cell = world.cells[0]
    accuracies = stored.filter(pl.col("task") != "fiction")["value"].to_list()
    assert evidence(world, frame).cells[cell][0] == pytest.approx(100 * np.mean(accuracies))
    perplexity = stored.filter(pl.col("task") == "fiction")["value"].item()
    assert evidence(world, frame, "fiction").cells[cell][0] == pytest.approx(-100 * np.log(perplexity))


def test_a_run_without_one_of_the_tasks_is_left_out() -> None:
    world = World(grid(methods=["wanda"], sources=["c4"], origins=["real"]), lambda c: 60, lambda c: 60)
    frame = world.frame("holds", rng(1), seeds=3)
    frame = frame.filter(~((pl.col("seed") == 1) & (pl.col("task") == "hellaswag")).fill_null(False))
    assert sorted(evidence(world, frame).cells[world.cells[0]]) == [0, 2]


def test_the_main_setting_is_that_of_most_runs_and_then_the_papers() -> None:
    cells = grid(samples=(64, 128), prefixes=(1, 4, 64), drops=(0.0, 0.2))
    world = World(cells, lambda c: 60, lambda c: 60)
    assert evidence(world, world.frame("holds", rng(), seeds=1)).main == (128, 4, 0.2)
    more = World(
        [*cells, *grid(samples=(64,), prefixes=(16,), drops=(0.5,), sparsities=["0.5"])], *[lambda c: 60.0] * 2
    )
    assert evidence(more, more.frame("holds", rng(), seeds=1)).main.samples == 64


def test_estimates_equal_differences_computed_by_hand() -> None:
    world = WORLDS["generated_beats_every_source"]
    frame = world.frame("holds", rng(5))
    mean = frame.filter(pl.col("task") != "fiction").group_by("method", "source", "origin", "seed").agg(
        (100 * pl.col("value").mean()).alias("score")
    )  # fmt: skip
    wide = mean.filter(pl.col("source").is_not_null()).pivot(
        "origin", index=["method", "source", "seed"], values="score"
    )
    differences = wide.with_columns((pl.col("synthetic") - pl.col("real")).alias("d"))
    by_source = differences.group_by("source").agg(pl.col("d").mean())["d"]
    found = judged(BY_NAME["generated_beats_real"], world, frame)
    assert found.estimate is not None
    assert found.estimate.mean == pytest.approx(by_source.mean())
    assert found.estimate.sd == pytest.approx(by_source.std())
    assert found.estimate.n == len(SOURCES)
    assert found.test == "t over 4 sources"
    each = differences.group_by("method", "source").agg(pl.col("d").mean(), pl.col("d").std().alias("sd"))
    t = each.select((pl.col("d") / pl.col("sd")).min()).item()
    weakest = judged(BY_NAME["generated_beats_every_source"], world, frame)
    assert weakest.estimate is not None
    assert weakest.estimate.sd is not None
    assert weakest.estimate.mean / weakest.estimate.sd == pytest.approx(t)


def test_the_sparsity_of_the_paper_is_taken_where_it_was_repeated() -> None:
    cells = grid(("0.5", "0.7", "2:4"), origins=["real"])
    world = World(cells, lambda c: 60, lambda c: 60)
    frame = world.frame("holds", rng(), seeds=2)
    study = evidence(world, frame)
    assert study.sparsities == ["0.5", "0.7", "2:4"]
    assert [study.sparsity("0.6"), study.sparsity("2:4"), study.sparsity()] == ["0.7", "2:4", "0.7"]
    once = evidence(world, frame.filter((pl.col("sparsity") != "2:4") | (pl.col("seed") == 0)))
    assert once.sparsity("2:4") == "0.7"


def test_methods_tried_once_do_not_count_beside_repeated_ones() -> None:
    world = World(grid(), lambda c: 60, lambda c: 60)
    frame = world.frame("holds", rng(), seeds=2)
    assert evidence(world, frame).methods == ["wanda", "dsnot"]
    tried = frame.filter((pl.col("method") != "dsnot") | (pl.col("seed") == 0))
    assert evidence(world, tried).methods == ["wanda"]
    assert evidence(world, frame.filter(pl.col("seed") == 0)).methods == ["wanda", "dsnot"]


def test_similarities_are_to_training_data_exact_where_known_and_of_one_kind() -> None:
    assert to_training(SIMILARITY, ("dclm",)) == {"c4": 0.070, "slimpajama": 0.016, "wikipedia": 0.008}
    assert to_training(SIMILARITY, ("dclm", "c4")) == {"slimpajama": 0.016, "wikipedia": 0.5}
    assert to_training(SIMILARITY, ()) == {}


def test_training_data_of_two_sources_must_both_be_beaten() -> None:
    world = WORLDS["generated_beats_training_data"]
    frame = world.frame("holds", rng())
    claim = BY_NAME["generated_beats_training_data"]
    for best, verdict in ((60.0, "holds"), (64.0, "does not hold")):
        lifted = World(
            world.cells, lambda c, b=best: b if (c.source, c.origin) == ("c4", "real") else world.holds(c), world.fails
        )
        study = gather(StudyResults(lifted.frame("holds", rng()), replace(STUDY, trained_on=("dclm", "c4"))))
        assert study is not None
        assert judge(study, "a-model", [claim])[0].verdict == verdict
    untrained = gather(StudyResults(frame, replace(STUDY, trained_on=())))
    assert untrained is not None
    assert "is known to be the model's training data" in judge(untrained, "a-model", [claim])[0].reason


def test_one_source_speaks_for_itself() -> None:
    world = World(grid(sources=["c4"]), generated(1.0), generated(-1.0))
    found = judged(BY_NAME["generated_beats_real"], world, world.frame("holds", rng()))
    assert found.verdict == "holds"
    assert found.test == "paired t, one source, 8 seeds"


def test_a_gap_that_is_not_there_cannot_fail_to_close() -> None:
    world = World(WORLDS["amount_does_not_close_gaps"].cells, lambda c: 60, lambda c: 60, sd=0.2)
    found = judged(BY_NAME["amount_does_not_close_gaps"], world, world.frame("holds", rng()))
    assert found.verdict == "undecided"
    assert "no gap between sources is established" in found.reason


@pytest.mark.parametrize(("shift", "verdict"), [(0.5, "holds"), (-0.5, "does not hold"), (0.0, "undecided")])
def test_min_k(shift: float, verdict: str) -> None:
    world = World([], lambda c: 0, lambda c: 0)
    found = gather(StudyResults(world.frame("holds", rng()), STUDY), scores=text_scores(rng(2), shift))
    assert found is not None
    judgement = judge(found, "a-model", [BY_NAME["generated_has_higher_min_k"]])[0]
    assert judgement.verdict == verdict
    assert judgement.unit == "Min-K%++"
    assert "bootstrap, 60 and 60 rows" in judgement.test


def test_rows_that_several_sets_share_count_once() -> None:
    scores = text_scores(rng(2), 0.5)
    twice = pl.concat([scores.with_columns(pl.lit(s, dtype=pl.Int64).alias("seed")) for s in (0, 1)])
    world = World([], lambda c: 0, lambda c: 0)
    found = gather(StudyResults(world.frame("holds", rng()), STUDY), scores=twice)
    assert found is not None
    assert "60 and 60 rows" in judge(found, "a-model", [BY_NAME["generated_has_higher_min_k"]])[0].test


def test_holm_is_over_the_tested_claims() -> None:
    """A p of 0.03 decides alone, and not beside two other tested claims."""
    names = ["generated_beats_real", "generated_beats_every_source", "unfiltered_beats_real"]
    world = World(grid(sources=["c4"], drops=(0.0, 0.2), methods=["wanda"]), generated(1.0), generated(1.0), sd=1.0)
    for seed in range(200):
        frame = world.frame("holds", rng(seed), seeds=6)
        single = judged(BY_NAME[names[0]], world, frame)
        assert single.p is not None
        if 0.025 < single.p < 0.045:
            break
    assert single.verdict == "holds"
    several = judge(evidence(world, frame), "a-model", [BY_NAME[name] for name in (*names, "gain_in_patterns")])
    assert several[0].p == single.p
    assert several[0].p_holm is not None
    assert several[0].p_holm >= 2 * single.p
    assert several[0].verdict == "undecided"
    assert several[0].reason == "not below 0.05 after Holm's correction over 3 claims"
    assert several[3].p_holm is None


def shown_side(found: Judgement, margin: float | None) -> bool:
    """Whether the shown interval lies where 'holds' needs it."""
    assert found.estimate is not None
    low, high = found.estimate.low, found.estimate.high
    assert low is not None
    assert high is not None
    if margin is not None:
        return -margin < low and high < margin
    return low > (-0.3 if found.claim.name == "amount_does_not_close_gaps" else 0)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from([c.name for c in FROM_RUNS]),
    seed=st.integers(0, 2**32 - 1),
    noise=st.floats(0.1, 100),
    seeds=st.integers(1, 6),
    truth=st.sampled_from(["holds", "fails"]),
)
def test_no_verdict_against_its_own_interval(name: str, seed: int, noise: float, seeds: int, truth: str) -> None:
    world = WORLDS[name]
    found = judged(BY_NAME[name], world, world.frame(truth, rng(seed), noise, seeds))
    if found.verdict == "holds":
        assert shown_side(found, ALIKE.get(name))
    elif found.verdict == "does not hold":
        assert not shown_side(found, ALIKE.get(name))
    else:
        assert found.reason


# Rates of wrong verdicts. Scores are made directly, without a frame: thousands of studies in a second.


def nothing(name: str, generator: np.random.Generator, seeds: int, mean: dict[str, float] | None = None) -> Evidence:
    """A study of noise alone, that is twice as large at 60 % sparsity; sources may have means of their own."""
    world = WORLDS[name]
    base = EVIDENCE.setdefault(name, evidence(world, world.frame("holds", rng(), seeds=1)))
    cells: dict[Cell, dict[int | None, float]] = {
        cell: {
            s: (mean or {}).get(cell.source or "", 60.0) + (0.2 if cell.sparsity == "0.6" else 0.1) * float(x)
            for s, x in enumerate(generator.standard_normal(seeds))
        }
        for cell in world.cells
    }
    cells[Cell("magnitude", "0.6")] = {None: 60.0}
    return replace(base, cells=cells, guessing=frozenset())


EVIDENCE: dict[str, Evidence] = {}
DIRECTED = [c for c in FROM_RUNS if c.name not in ALIKE and c.name != "amount_does_not_close_gaps"]


@pytest.mark.parametrize("claim", DIRECTED, ids=lambda c: c.name)
def test_noise_alone_rarely_makes_a_claim_hold(claim: Claim) -> None:
    """At most one study in twenty; 300 of them, so 26 or fewer where the rate is 5 % (99.9 %)."""
    generator, studies = rng(11), 300  # of six seeds each
    wrong = sum(
        judge(nothing(claim.name, generator, 6), "a-model", [claim])[0].verdict == "holds" for _ in range(studies)
    )
    assert wrong <= 26


@pytest.mark.parametrize("name", sorted(ALIKE))
def test_differences_of_a_whole_margin_are_rarely_called_alike(name: str) -> None:
    generator, studies, margin = rng(12), 200, ALIKE[name]
    wrong = 0
    for _ in range(studies):
        study = nothing(name, generator, 6, {"wikipedia": 60.0 - margin} if name != "amount_does_not_matter" else None)
        if name == "amount_does_not_matter":
            cells = {c: {s: v + margin * (c.samples == 2048) for s, v in x.items()} for c, x in study.cells.items()}
            study = replace(study, cells=cells)
        wrong += judge(study, "a-model", [BY_NAME[name]])[0].verdict == "holds"
    assert wrong <= 19


def test_the_papers_numbers_stand_beside_its_models_only() -> None:
    world = WORLDS["spread_grows_with_sparsity"]
    study = evidence(world, world.frame("holds", rng()))
    claim = BY_NAME["spread_grows_with_sparsity"]
    assert judge(study, "apple/DCLM-7B", [claim])[0].paper == (
        "0.5 points: best minus worst of four sources; 2.3 points: best minus worst of four sources"
    )
    assert judge(study, "a-model", [claim])[0].paper == ""
    every = BY_NAME["generated_beats_every_source"]
    assert judge(study, "apple/DCLM-7B", [every])[0].paper == "+0.37 to +2.68 points, 12 pairs"
    assert judge(study, "meta-llama/Llama-2-7b", [every])[0].paper == "+0.01 to +1.06 points, 12 pairs"
    named = {number for claim in CLAIMS for number in claim.numbers}
    assert named <= set(published.numbers()["id"])


def test_the_table_shows_every_claim_once_in_every_form() -> None:
    world = WORLDS["generated_beats_real"]
    study = evidence(world, world.frame("holds", rng()))
    found = judge(study, "a-model")
    [table] = claims_table(found, study.outcome)
    labels = [row.label for section in table.sections for row in section.rows]
    assert sorted(labels) == sorted(claim.statement for claim in CLAIMS)
    assert table.sections[0].heading == "Decided"
    for text in (to_markdown(table), to_latex(table), to_csv([table])):
        assert "Self-generated text beats real text on average" in text
    undecided = [row for section in table.sections for row in section.rows if row.cells[1] == "undecided"]
    assert all(row.cells[-2] for row in undecided)
    bare = World([], lambda c: 0, lambda c: 0)
    nothing_tested = evidence(bare, bare.frame("holds", rng()))
    assert claims_table(judge(nothing_tested, "a-model"), nothing_tested.outcome) == []
