"""Sentences: computed from the numbers, and never saying more than they carry."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from calibrant.reporting.inference.finding import Finding
from scipy import stats

from calibrant.reporting.figures import performance_figure
from calibrant.reporting.inference import findings, method_findings, statistics
from calibrant.reporting.results.index import Index, read_index
from calibrant.reporting.results.result_frame import collect
from calibrant.reporting.results.samples import SCORES, read_scores
from calibrant.reporting.results.study_results import StudyResults

NO_SCORES = pl.DataFrame(schema=SCORES)


def load(study: Any) -> tuple[Index, StudyResults]:
    index = read_index(study.write())
    return index, StudyResults(collect(index.runs), index.study)


def with_differences(study: Any, differences: dict[str, list[float]]) -> StudyResults:
    """The study with perplexities at 60 % set so that generated minus real is as given."""
    index = read_index(study.write())
    frame = collect(index.runs)
    values = frame["value"].to_list()
    for i, row in enumerate(frame.iter_rows(named=True)):
        if row["task"] == "fiction" and row["sparsity"] == "0.6" and row["source"] is not None:
            shift = differences[row["source"]][row["seed"]] if row["origin"] == "synthetic" else 0.0
            values[i] = 60.0 + shift
    return StudyResults(frame.with_columns(pl.Series("value", values)), index.study)


def headline(data: StudyResults) -> Finding:
    found = findings.real_against_generated(data, "0.6", "wanda", data.perplexities[0])
    assert found is not None
    return found


def test_the_headline_states_the_pooled_difference(study: Any) -> None:
    given = {"web": [-2.0, -2.4], "wikipedia": [-3.0, -3.2], "news": [1.0, 1.1], "speech": [-4.0, -4.5]}
    found = headline(with_differences(study, given))
    expected = statistics.pooled(list(given.values()))
    assert "gave lower perplexity on fiction than real text for 3 of 4 sources" in found.text
    assert f"mean difference {expected.mean:.2f}".replace("-", "−") in found.text
    assert f"95 % interval {expected.low:.2f} to {expected.high:.2f}".replace("-", "−") in found.text
    assert "2 seeds a source" in found.text
    across = stats.ttest_1samp([np.mean(v) for v in given.values()], 0).confidence_interval(0.95)
    assert across.low < 0 < across.high
    assert "favours self-generated text for these sources and this model" in found.hedge
    assert "does not exclude zero" in found.hedge


def test_an_interval_over_zero_settles_nothing(study: Any) -> None:
    given = {"web": [-2.0, 2.4], "wikipedia": [-3.0, 3.2], "news": [1.0, -1.1], "speech": [-4.0, 4.5]}
    found = headline(with_differences(study, given))
    assert "do not settle which is better" in found.hedge
    assert "favours" not in found.hedge


def test_the_other_direction_has_the_other_words(study: Any) -> None:
    given = {name: [5.0, 5.2] for name in ("web", "wikipedia", "news", "speech")}
    found = headline(with_differences(study, given))
    assert "gave higher perplexity on fiction than real text for 4 of 4 sources" in found.text
    assert "favours real text" in found.hedge


def test_one_seed_is_no_interval(make_study: Callable[..., Any]) -> None:
    _, data = load(make_study(seeds=1))
    found = headline(data)
    assert "interval" not in found.text
    assert "1 seed a source" in found.text
    assert "gives no interval" in found.hedge
    assert not any("95 % interval" in f.text for f in findings.findings(data, NO_SCORES))
    assert any("no interval can be given" in text for text in findings.limitations(data))


def test_one_source(make_study: Callable[..., Any]) -> None:
    _, data = load(make_study(sources=("web",)))
    found = headline(data)
    assert "for the one source of the study" in found.text
    assert "sample of sources" not in found.hedge
    assert findings.spread_of_sources(data, "0.6", "wanda") is None


def test_only_real_text(make_study: Callable[..., Any]) -> None:
    """No self-generated text: nothing is said of it, and the rest still is."""
    index, data = load(make_study(origins=("real",)))
    texts = [f.text for f in findings.findings(data, read_scores(index.scores))]
    assert texts
    assert not any("self-generated" in text for text in texts)


def test_tasks_at_chance_are_named_and_left_out_of_the_average(study: Any) -> None:
    index, data = load(study)
    found = findings.findings(data, read_scores(index.scores))
    chance = next(f for f in found if "guessing" in f.text)
    assert "PIQA (51.0 % against 50.0 %)" in chance.text
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
        texts = [f.text for f in findings.findings(data, NO_SCORES)]
        assert any("accuracy on" in text and "than real text" in text for text in texts) != guessed
        assert any("most pruned models are within two standard errors of guessing" in text for text in texts) == guessed
        assert any("perplexity on fiction than real text" in text for text in texts)


def test_magnitude_is_counted(make_study: Callable[..., Any]) -> None:
    _, data = load(make_study(methods=("wanda", "dsnot")))
    found = method_findings.against_magnitude(data, "0.6")
    assert found is not None
    assert "did better in perplexity on fiction than magnitude pruning" in found.text
    assert found.text.endswith("for 8 of 8 with Wanda, 8 of 8 with DSnoT.")


def test_the_headline_is_the_best_replicated_method(make_study: Callable[..., Any]) -> None:
    index = read_index(make_study(methods=("wanda", "dsnot"), sparsities=("0.6",)).write())
    frame = collect(index.runs)
    kept = frame.filter((pl.col("method") != "dsnot") | (pl.col("seed") == 0) & (pl.col("source") == "web"))
    found = findings.findings(StudyResults(kept, index.study), NO_SCORES)
    assert "(Wanda)" in found[0].text
    positions, labels = performance_figure._rows(StudyResults(kept, index.study))
    assert list(positions)[-1] == ("dsnot", "web")
    assert len(labels) == 5  # a row for what was run


def test_methods_are_compared_on_the_same_sets(make_study: Callable[..., Any]) -> None:
    index = read_index(make_study(methods=("wanda", "dsnot", "owl")).write())
    frame = collect(index.runs)
    shifts = {"wanda": 0.0, "owl": -2.0}
    rng = np.random.default_rng(5)
    values, kept, given = frame["value"].to_list(), [], []
    for i, row in enumerate(frame.iter_rows(named=True)):
        if row["task"] == "fiction" and row["sparsity"] == "0.6" and row["source"] is not None:
            base = 60.0 + 3 * row["seed"] + len(row["source"]) + (row["origin"] == "real")
            noise = rng.normal() if row["method"] == "dsnot" else 0.0
            values[i] = base + shifts.get(row["method"], noise)
            if row["method"] == "dsnot" and row["source"] in ("web", "news"):
                given.append(noise)
        # DSnoT was run on the sets of two sources only
        kept.append(row["method"] != "dsnot" or row["source"] in ("web", "news"))
    data = StudyResults(frame.with_columns(pl.Series("value", values)).filter(pl.Series(kept)), index.study)
    found = method_findings.methods_compared(data, "0.6")
    assert found is not None
    interval = stats.ttest_1samp(given, 0).confidence_interval(0.95)
    shown = f"DSnoT by {np.mean(given):+.2f} (95 % interval {interval.low:+.2f} to {interval.high:+.2f}"
    assert shown.replace("-", "−") in found.text
    assert f"{len(given)} sets" in found.text
    assert "OWL by −2.00 (16 sets)" in found.text  # no spread at all, so no interval
    assert "the order is not settled" in found.hedge
    assert (
        method_findings.methods_compared(StudyResults(frame.filter(pl.col("method") == "wanda"), index.study), "0.6")
        is None
    )


def test_spread_between_sources(study: Any) -> None:
    _, data = load(study)
    means = {
        source: np.mean([v for (c, s) in [(None, None)] for v in _values(data, source)]) for source in data.sources
    }
    found = findings.spread_of_sources(data, "0.6", "wanda")
    assert found is not None
    assert f"by {max(means.values()) - min(means.values()):.2f} for real text" in found.text


def _values(data: StudyResults, source: str) -> list[float]:
    return list(data.values(data.at("wanda", "0.6", source, "real"), data.perplexities[0]).values())


def test_predictability_from_medians(study: Any) -> None:
    index, data = load(study)
    scores = read_scores(index.scores)
    found = findings.predictability(data, scores)
    assert found is not None
    ratios = []
    for source in data.sources:
        medians = {o: scores.filter((pl.col("source") == source) & (pl.col("origin") == o))["perplexity"].median()
                   for o in ("real", "synthetic")}  # fmt: skip
        ratios.append(medians["synthetic"] / medians["real"])  # type: ignore[operator]
    assert f"on average {np.exp(np.mean(np.log(ratios))):.2f} times" in found.text
    assert findings.predictability(data, NO_SCORES) is None


def test_seeds_needed_follow_from_the_spread(study: Any) -> None:
    given = {"web": [-2.0, -2.4], "wikipedia": [-3.0, -3.2], "news": [1.0, 1.1], "speech": [-4.0, -4.5]}
    data = with_differences(study, given)
    found = findings.seeds_for_next_time(data)
    assert found is not None
    sd = statistics.pooled(list(given.values())).sd
    assert sd is not None
    match = re.search(r"a difference of 1.20 \(2 %\) in perplexity on fiction would need about (\d+) seeds", found.text)
    assert match is not None
    assert int(match[1]) == statistics.seeds_needed(sd, 0.02 * 60.0)


@pytest.mark.parametrize(("seeds", "width"), [(1, None), (2, 8.985), (20, 0.468)])
def test_width_of_an_interval(seeds: int, width: float | None) -> None:
    assert findings.interval_width(seeds) == (width if width is None else pytest.approx(width, abs=5e-4))
