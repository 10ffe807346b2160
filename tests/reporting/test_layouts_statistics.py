"""Ranges, marks for the best, and areas under the curve, against second implementations and simulation."""

import itertools

import numpy as np
import pytest
from calibrant.reporting.inference.best import best_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_frames import make_frame, make_study
from scipy import stats

from calibrant.reporting.figures import amount_figure as amount
from calibrant.reporting.inference.effects import effects
from calibrant.reporting.inference.ranges import value_range
from calibrant.reporting.inference.superiority import superiority
from calibrant.reporting.results.cells import in_order
from calibrant.reporting.results.study_results import StudyResults

numbers = st.floats(-100, 100).map(lambda x: round(x, 3))


def test_the_interval_of_a_range_is_tukeys() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(mean, 0.4, 6) for mean in (1.0, 1.7, 0.2, 1.1)]
    found = value_range(dict(zip("abcd", groups, strict=True)))
    assert found is not None
    assert (found.lowest, found.highest, found.groups) == ("c", "b", 4)
    assert found.value == pytest.approx(groups[1].mean() - groups[2].mean())
    expected = stats.tukey_hsd(*groups).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low[1, 2], rel=1e-6)
    assert found.high == pytest.approx(expected.high[1, 2], rel=1e-6)


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0])
def test_the_interval_of_a_range_covers_the_true_range(spread: float) -> None:
    rng = np.random.default_rng(1)
    means, covered, trials = spread * np.array([0, 0.3, 0.6, 1.0]), 0, 400
    for _ in range(trials):
        found = value_range({str(i): rng.normal(mean, 1.0, 5) for i, mean in enumerate(means)})
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= spread <= found.high
    # At least 95 % of the studies; below 0.92 is 2.8 standard errors away from that.
    assert covered / trials >= 0.92


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(numbers, min_size=2, max_size=4), min_size=2, max_size=4), numbers)
def test_a_range_does_not_change_when_all_values_are_shifted(groups: list[list[float]], shift: float) -> None:
    one = value_range({str(i): g for i, g in enumerate(groups)})
    other = value_range({str(i): [v + shift for v in g] for i, g in enumerate(groups)})
    assert one is not None
    assert other is not None
    assert other.value == pytest.approx(one.value, abs=1e-9)
    if one.low is not None and one.high is not None:
        assert 0 <= one.low <= one.value <= one.high


def test_a_range_needs_two_groups_and_an_interval_two_values() -> None:
    assert value_range({"a": [1.0, 2.0]}) is None
    assert value_range({"a": [1.0, 2.0], "b": []}) is None
    single = value_range({"a": [1.0], "b": [3.0]})
    assert single is not None
    assert (single.value, single.low, single.high) == (2.0, None, None)
    constant = value_range({"a": [1.0, 1.0], "b": [3.0, 3.0]})
    assert constant is not None
    assert constant.low is None


def brute_best(sections: list[list[dict[int, float]]], lower: bool) -> list[int | None]:
    """The definition, with Holm's correction in its textbook form."""
    tests = []
    for s, rows in enumerate(sections):
        for a, b in itertools.combinations(range(len(rows)), 2):
            seeds = sorted(set(rows[a]) & set(rows[b]))
            x, y = ([row[seed] for seed in seeds] for row in (rows[a], rows[b]))
            tests.append((float(stats.ttest_rel(x, y).pvalue), s, a, b))
    rejected = set()
    for rank, (p, *key) in enumerate(sorted(tests)):
        if p * (len(tests) - rank) >= 0.05:
            break
        rejected.add(tuple(key))
    found: list[int | None] = []
    for s, rows in enumerate(sections):
        means = [np.mean(list(row.values())) * (1 if lower else -1) for row in rows]
        best = int(np.argmin(means))
        pairs = [(s, a, b) for a, b in itertools.combinations(range(len(rows)), 2) if best in (a, b)]
        found.append(best if all(pair in rejected for pair in pairs) else None)
    return found


@pytest.mark.parametrize("lower", [True, False])
def test_the_best_row_is_the_one_that_the_definition_gives(lower: bool) -> None:
    rng = np.random.default_rng(2)
    seen: set[bool] = set()
    for gap in (0.0, 0.5, 1.0, 2.0, 4.0):
        sections = [[dict(enumerate(rng.normal(gap * row, 1.0, 6))) for row in rng.permutation(3)] for _ in range(2)]
        found = best_rows(sections, lower_is_better=lower)
        assert found == brute_best(sections, lower)
        seen |= {row is not None for row in found}
    assert seen == {True, False}


def test_no_row_is_best_without_a_test() -> None:
    assert best_rows([[{0: 1.0}, {0: 9.0}]], lower_is_better=True) == [None]  # one seed
    assert best_rows([[{0: 1.0, 1: 1.0}, {0: 9.0, 1: 9.0}]], lower_is_better=True) == [None]  # no spread
    assert best_rows([[{0: 1.0, 1: 1.1}, {2: 9.0, 3: 9.1}]], lower_is_better=True) == [None]  # no common seed
    assert best_rows([[{0: 1.0, 1: 1.1}], []], lower_is_better=True) == [None, None]  # nothing to compare with


def test_marks_are_rare_when_nothing_differs() -> None:
    rng = np.random.default_rng(3)
    marked = 0
    for _ in range(400):
        rows = [dict(enumerate(rng.normal(0, 1, 5))) for _ in range(4)]
        marked += best_rows([rows], lower_is_better=True) != [None]
    assert marked / 400 <= 0.05


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=2, max_size=12), st.lists(numbers, min_size=2, max_size=12))
def test_superiority_is_the_share_of_pairs(higher: list[float], lower: list[float]) -> None:
    found = superiority(np.array(higher), np.array(lower))
    pairs = [1.0 if h > x else 0.5 if h == x else 0.0 for h in higher for x in lower]
    assert found is not None
    area, low, high = found
    assert area == pytest.approx(np.mean(pairs), abs=1e-12)
    if low is not None and high is not None:
        assert 0 <= low <= area <= high <= 1


def test_the_interval_of_superiority_covers_the_true_share() -> None:
    rng = np.random.default_rng(4)
    truth, covered = float(stats.norm.cdf(0.8 / np.sqrt(2))), 0
    for _ in range(400):
        found = superiority(rng.normal(0.8, 1, 40), rng.normal(0, 1, 60))
        assert found is not None
        covered += found[1] <= truth <= found[2]
    assert 0.92 <= covered / 400 <= 0.98


def test_superiority_without_overlap_has_no_certainty() -> None:
    found = superiority(np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0]))
    assert found == (1.0, None, None)
    assert superiority(np.array([3.0]), np.array([0.0, 1.0])) is None


def test_effects_are_ranges_of_averages_over_the_other_factor() -> None:
    frame = make_frame(origins=("real",), seeds=4)
    data = StudyResults(frame, make_study())
    measure = data.perplexities[0]
    found = effects(data, "0.6", measure)
    values = {
        (m, s): np.array(list(data.values(data.at(m, "0.6", s, "real"), measure).values()))
        for m in data.methods
        for s in data.sources
    }
    texts = {s: np.mean([values[m, s] for m in data.methods], axis=0) for s in data.sources}
    methods = {m: np.mean([values[m, s] for s in data.sources], axis=0) for m in data.methods}
    for range_, groups in ((found.text, texts), (found.method, methods)):
        means = {name: group.mean() for name, group in groups.items()}
        assert range_ is not None
        assert range_.value == pytest.approx(max(means.values()) - min(means.values()))
        interval = stats.tukey_hsd(*groups.values()).confidence_interval(0.95)
        names = list(groups)
        high, low = names.index(range_.highest), names.index(range_.lowest)
        assert range_.high == pytest.approx(interval.high[high, low], rel=1e-6)
    assert found.verdict == "text"


def test_effects_are_undecided_where_the_ranges_are_alike() -> None:
    def alike(cell: dict[str, object]) -> float:
        return 0.6 + 0.005 * (cell["source"] == "c4") + 0.005 * (cell["method"] == "owl")

    frame = make_frame(origins=("real",), true=alike, noise=0.006, seeds=4)
    data = StudyResults(frame, make_study())
    assert effects(data, "0.6", data.averages[0]).verdict == "undecided"
    one = StudyResults(make_frame(origins=("real",), seeds=1), make_study())
    assert effects(one, "0.6", one.averages[0]).verdict == "unknown"


def test_the_ratio_of_spreads_is_that_of_pooled_deviations() -> None:
    frame = make_frame(methods=("wanda",), sparsities=("2:4",), origins=("real",), samples=(64, 256, 2048), seeds=6)
    data = StudyResults(frame, make_study())
    found = amount.spread_ratio(data, amount.Panel("2:4", "wanda", "real"), data.headline[0])
    variances = []
    for n in (64, 2048):
        chosen = frame.filter((frame["samples"] == n) & (frame["task"] == "alpaca"))
        groups = [group["value"].to_numpy() for _, group in chosen.group_by("source", maintain_order=True)]
        variances.append(np.mean([group.var(ddof=1) for group in groups]))
    ratio = variances[1] / variances[0]
    assert found is not None
    assert found[0] == pytest.approx(np.sqrt(ratio))
    low, high = stats.f.ppf([0.025, 0.975], 20, 20)
    assert found[1:] == pytest.approx((np.sqrt(ratio / high), np.sqrt(ratio / low)))


def test_settings_are_ordered_from_free_to_strict() -> None:
    assert in_order(["2:4", "0.6", "4:8", "0.5", "1:4"]) == ["0.5", "0.6", "4:8", "2:4", "1:4"]
