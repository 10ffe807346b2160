"""Sentences: made of the conclusions, computed from the numbers, and never saying more than they carry."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from claim_worlds import World, generated, grid, level, wikipedia_below
from scipy import stats

from calibrant.reporting.figures import performance_figure
from calibrant.reporting.inference import limits, observations, statements
from calibrant.reporting.inference.conclusions import Judged, Judgement, judge_study
from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.inference.words import interval, of_measure, ranged, shown, with_unit
from calibrant.reporting.results.index import Index, read_index
from calibrant.reporting.results.result_frame import collect
from calibrant.reporting.results.samples import SCORES, middle, read_scores
from calibrant.reporting.results.study_results import StudyResults

NO_SCORES = pl.DataFrame(schema=SCORES)
SAME = {name: [0.0, 0.0] for name in ("web", "wikipedia", "news", "speech")}


def load(study: Any) -> tuple[Index, StudyResults]:
    index = read_index(study.write())
    return index, StudyResults(collect(index.runs), index.study)


def judged(data: StudyResults) -> Judged:
    found = judge_study(data)
    assert found is not None
    return found


def alone(data: StudyResults, name: str) -> tuple[Judged, Judgement]:
    """A conclusion of the paper in a family of its own."""
    found = judge_study(data, claims=[c.claim for c in judged(data).claims if c.claim.name == name], own=False)
    assert found is not None
    return found, found.claims[0]


def with_differences(study: Any, differences: dict[str, list[float]]) -> StudyResults:
    """The study's perplexities at 60 %: real text 60 and 61, generated higher by these shares, in per cent."""
    index = read_index(study.write())
    frame = collect(index.runs).filter(pl.col("task") == "fiction")
    values = frame["value"].to_list()
    for i, row in enumerate(frame.iter_rows(named=True)):
        if row["sparsity"] == "0.6" and row["source"] is not None:
            written = row["origin"] == "synthetic"
            base = 60.0 if written else 60.0 + row["seed"]
            values[i] = base * np.exp((differences[row["source"]][row["seed"]] if written else 0) / 100)
    return StudyResults(frame.with_columns(pl.Series("value", values)), index.study)


def headline(data: StudyResults) -> Statement:
    found, judgement = alone(data, "generated_beats_real")
    return statements.generated_or_real(found.scope, judgement)


def test_the_headline_states_the_difference_with_its_interval(study: Any) -> None:
    given = {"web": [-20, -20.4], "wikipedia": [-30, -30.2], "news": [10, 10.1], "speech": [-40, -40.5]}
    data = with_differences(study, given)
    found = headline(data)
    scores = lambda origin: [list(data.scores(data.at("wanda", "0.6", s, origin), data.perplexities[0]).values())  # noqa: E731
                             for s in data.sources]  # fmt: skip
    written, real = np.array(scores("synthetic")), np.array(scores("real"))
    parts = [v.var(axis=1, ddof=1) / 2 / 16 for v in (written, real)]
    mean, error = written.mean() - real.mean(), np.sqrt(np.sum(parts))
    half = stats.t.ppf(0.975, np.sum(parts) ** 2 / np.sum(np.square(parts))) * error
    assert "calibrates better than the real text that it continues" in found.text
    assert f"by {mean:.1f} % of the perplexity on fiction, averaged over these 4 sources" in found.text
    assert f"{mean:+.1f} % of perplexity (95 % interval {mean - half:+.1f} to {mean + half:+.1f})" in found.hedge
    assert "The mean difference is positive for 3 of 4 sources" in found.hedge
    across = stats.ttest_1samp((written - real).mean(axis=1), 0).confidence_interval(0.95)
    assert across.low < 0 < across.high
    assert (
        f"Of the mean over sources like these: 95 % interval −{abs(across.low):.1f} to {across.high:+.1f}."
        in found.hedge
    )
    assert found.text.startswith("At 60 % sparsity (Wanda)")


def test_an_interval_over_zero_settles_nothing(study: Any) -> None:
    given = {"web": [-2.0, 2.4], "wikipedia": [-3.0, 3.2], "news": [1.0, -1.1], "speech": [-4.0, 4.5]}
    found = headline(with_differences(study, given))
    assert "do not settle" in found.text
    assert "Power to find 2 % of perplexity, after correction: at least" in found.hedge
    assert not re.search(r"calibrates (better|worse) than the real text that it continues: by", found.text)


def test_the_other_direction_has_the_other_words(study: Any) -> None:
    found = headline(with_differences(study, {name: [5.0, 5.2] for name in SAME}))
    assert "calibrates worse than the real text that it continues: by" in found.text
    assert "positive for 0 of 4 sources" in found.hedge


def test_a_verdict_that_correction_took_names_no_side(study: Any) -> None:
    """Whatever the interval: the sentence goes with the verdict."""
    found, judgement = alone(with_differences(study, {name: [-20.0, -20.1] for name in SAME}), "generated_beats_real")
    assert judgement.verdict == "holds"
    taken = replace(judgement, verdict="undecided", p_holm=0.2)
    said = statements.generated_or_real(found.scope, taken)
    assert "do not settle" in said.text
    assert "p = 0.20 after Holm's correction" in said.hedge


def test_one_seed_is_no_interval(make_study: Callable[..., Any]) -> None:
    _, data = load(make_study(seeds=1))
    found = judged(data)
    texts = [f"{s.text} {s.hedge}" for s in (*statements.found(found), *statements.further(found, NO_SCORES))]
    assert texts
    assert not any(re.search(r"95 % interval [^:]*\d", text) for text in texts)
    assert not any("calibrates better than" in text.replace("whether text that the model wrote itself", "") and
                   "do not settle" not in text for text in texts)  # fmt: skip
    assert any("no interval can be given" in text for text in limits.limitations(data))


def test_one_source(make_study: Callable[..., Any]) -> None:
    _, data = load(make_study(sources=("web",)))
    found = headline(data)
    assert "on the one source of the study" in found.text + found.hedge
    assert "other sources" not in found.hedge
    assert not any("sources, which someone chose" in said for said in limits.limitations(data))


def test_only_real_text(make_study: Callable[..., Any]) -> None:
    """No self-generated text: nothing is said of it, and the rest still is."""
    index, data = load(make_study(origins=("real",)))
    found = judged(data)
    said = [*statements.found(found), *statements.further(found, read_scores(index.scores))]
    assert said
    assert not any("self-generated" in s.text or "wrote itself" in s.text for s in said)


def test_tasks_at_chance_are_named_and_left_out_of_the_average(study: Any) -> None:
    index, data = load(study)
    said = statements.further(judged(data), read_scores(index.scores))
    chance = next(s for s in said if "dense model is not above chance" in s.text)
    assert "PIQA (51.0 % against 50.5 %)" in chance.text
    assert ("piqa", "acc") not in data.outcomes[-1].members
    assert len(data.outcomes[-1].members) == 2


def test_no_difference_is_read_where_most_pruned_models_guess(study: Any) -> None:
    index = read_index(study.write())
    frame = collect(index.runs).filter(pl.col("task").is_in(["fiction", "next_sentence_web"]))
    for guessed in (False, True):
        pruned = pl.col("source").is_not_null() & (pl.col("task") == "next_sentence_web")
        value = pl.when(pruned & guessed).then(0.25).otherwise(pl.col("value"))
        data = StudyResults(frame.with_columns(value.alias("value")), index.study)
        assert not data.at_chance  # the dense model knows the task either way
        found = judged(data)
        texts = [s.text for s in (*statements.found(found), *statements.further(found, NO_SCORES))]
        assert any("accuracy on" in text and "that it continues" in text for text in texts) != guessed
        assert any("most pruned models are not above chance by more than two" in text for text in texts) == guessed
        assert any("that it continues" in t and "perplexity on fiction" in t for t in texts)


def test_magnitude_is_counted(make_study: Callable[..., Any]) -> None:
    _, data = load(make_study(methods=("wanda", "dsnot")))
    found = observations.against_baseline(data, "0.6")
    assert found is not None
    assert "the mean perplexity on fiction is better than that of magnitude pruning" in found.text
    assert found.text.endswith("for 8 of 8 texts with Wanda, 8 of 8 texts with DSnoT.")
    assert observations.against_baseline(data, "2:4") is None


def test_a_method_that_was_tried_once_is_in_no_mean(make_study: Callable[..., Any]) -> None:
    index = read_index(make_study(methods=("wanda", "dsnot"), sparsities=("0.6",)).write())
    frame = collect(index.runs)
    kept = frame.filter((pl.col("method") != "dsnot") | (pl.col("seed") == 0) & (pl.col("source") == "web"))
    data = StudyResults(kept, index.study)
    found = statements.found(judged(data))
    assert "(Wanda)" in found[0].text
    assert not any(
        "DSnoT" in s.text + s.hedge for s in found if "magnitude" not in s.text
    )  # that counts, it has no mean
    positions, labels = performance_figure._rows(data, data.targets)
    assert list(positions)[-1] == ("dsnot", "web")
    assert len(labels) == 5  # a row for what was run


def test_methods_are_compared_on_the_same_sets_with_sources_as_observations(make_study: Callable[..., Any]) -> None:
    index = read_index(make_study(methods=("wanda", "dsnot", "owl")).write())
    frame = collect(index.runs).filter(pl.col("task") == "fiction")
    rng = np.random.default_rng(5)
    values, kept, given = frame["value"].to_list(), [], {}
    for i, row in enumerate(frame.iter_rows(named=True)):
        if row["sparsity"] == "0.6" and row["source"] is not None:
            base = 60.0 + 3 * row["seed"] + len(row["source"]) + (row["origin"] == "real")
            shift = 3 + rng.normal() if row["method"] == "dsnot" else -2.0 * (row["method"] == "owl")
            values[i] = base * np.exp(-shift / 100)
            if row["method"] == "dsnot" and row["source"] != "speech":
                given.setdefault(row["source"], []).append(shift)
        # DSnoT was run on the sets of three sources only.
        kept.append(row["method"] != "dsnot" or row["source"] != "speech")
    data = StudyResults(frame.with_columns(pl.Series("value", values)).filter(pl.Series(kept)), index.study)
    found = judged(data)
    methods = statements.methods_by_target(found)
    assert set(methods) == {"0.5", "0.6"}
    said = statements.methods_compared(found.scope, methods["0.6"])
    sources = [np.mean(v) for v in given.values()]
    expected = stats.ttest_1samp(sources, 0).confidence_interval(0.95)
    told = f"DSnoT {np.mean(sources):+.1f} % of perplexity (95 % interval {expected.low:+.1f} to {expected.high:+.1f})"
    assert told.replace("-", "−") in said.hedge
    assert "Each source is one observation" in said.hedge
    assert "OWL" not in said.hedge  # no spread at all between sources, so no test
    assert said in statements.found(found)
    assert (
        statements.methods_by_target(judged(StudyResults(frame.filter(pl.col("method") == "wanda"), index.study))) == {}
    )


@pytest.mark.parametrize(
    ("world", "verdict"),
    [
        (World(grid(origins=["real"]), level, level, seeds=20), "it hardly matters which of these 4 real texts"),
        (World(grid(origins=["real"]), wikipedia_below(2), level, seeds=20), "it matters which real text is taken"),
        (World(grid(origins=["real"]), wikipedia_below(0.4), level, seeds=4), "these runs do not settle whether"),
    ],
)
def test_which_real_text(world: World, verdict: str) -> None:
    data = world.results()
    found = judged(data)
    [judgement] = [j for j in found.own if j.claim.name == "alike real"]
    said = statements.which_text(found.scope, judgement)
    assert verdict in said.text
    means = {
        s: np.mean(
            [list(data.scores(data.at(m, "0.6", s, "real"), found.scope.outcome).values()) for m in data.methods]
        )
        for s in data.sources
    }
    best, worst = (f(means, key=lambda s: means[s]) for f in (max, min))
    assert f"the largest difference is {means[best] - means[worst]:.2f} points of mean accuracy" in said.text
    assert f"between {data.source_label(best)} and {data.source_label(worst)}" in said.text
    margin = with_unit(judgement.answer.margin or 0, "points", signed=False)
    assert f"two sets of one text commonly differ by ({margin})" in said.text + said.hedge
    assert ("Power to show it to be within" in said.hedge) == (judgement.verdict == "undecided")


def test_at_most_three_statements_open_a_page(study: Any) -> None:
    _, data = load(study)
    found = judged(data)
    said = statements.found(found)
    assert 1 <= len(said) <= 3
    more = statements.further(found, NO_SCORES)
    assert not {s.text for s in said} & {s.text for s in more}


def test_predictability_from_medians(study: Any) -> None:
    index, data = load(study)
    scores = read_scores(index.scores)
    found = observations.predictability(data, scores)
    assert found is not None
    ratios = []
    for source in data.sources:
        mine = scores.filter(pl.col("source") == source)
        medians = {o: middle(mine.filter(pl.col("origin") == o)["perplexity"].to_list()) for o in data.origins}
        ratios.append(medians["synthetic"] / medians["real"])
    assert f"on average {np.exp(np.mean(np.log(ratios))):.2f} times" in found.text
    assert f"for {sum(r < 1 for r in ratios)} of 4 sources" in found.text
    assert observations.predictability(data, NO_SCORES) is None


def test_limitations_say_what_intervals_cover_and_of_which_sources_verdicts_speak(study: Any) -> None:
    _, data = load(study)
    said = " ".join(limits.limitations(data))
    assert "Intervals cover the draw of the calibration set." in said
    assert "Verdicts speak of these 4 sources, which someone chose." in said
    assert "no interval can be given" not in said


def test_numbers_have_units_and_intervals() -> None:
    world = World(grid(), generated(1.0), level)
    found = judge_study(world.results())
    assert found is not None
    contrast = next(j for j in found.claims if j.claim.name == "generated_beats_real").answer.shown
    assert contrast is not None
    low, high = contrast.estimate.low, contrast.estimate.high
    assert shown(contrast) == f"{contrast.estimate.mean:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})"
    assert with_unit(-7.36, "% of perplexity") == "−7.4 % of perplexity"
    assert of_measure(-0.613, found.scope.outcome) == "0.61 points of mean accuracy over 2 tasks above chance"
    assert of_measure(-7.36, found.scope.data.perplexities[0]) == "7.4 % of the perplexity on fiction"
    bare = replace(contrast.estimate, low=None, high=None)
    assert interval(bare, "points") == "no interval: one set, or no spread"
    assert ranged.__doc__
