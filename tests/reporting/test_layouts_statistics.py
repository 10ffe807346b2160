"""Ranges, marks for the best, and areas under the curve, against second implementations and simulation."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_frames import make_frame, make_study
from scipy import stats

from calibrant.reporting.inference.amount_claims import deviation_contrast
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.inference.effects import effects, source_range
from calibrant.reporting.inference.ranges import value_range
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.statistics import deviation_trend
from calibrant.reporting.inference.superiority import superiority
from calibrant.reporting.results.cells import Cell, in_order
from calibrant.reporting.results.index import Study
from calibrant.reporting.results.result_frame import COLUMNS
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.rows import best_cells

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


@settings(max_examples=20, deadline=None)
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


def brute_best(sections: list[list[list[float]]], lower: bool) -> list[int | None]:
    """The definition, with Holm's correction in its textbook form: Welch's tests, since texts share no rows."""
    tests = []
    for s, rows in enumerate(sections):
        for a, b in itertools.combinations(range(len(rows)), 2):
            x, y = (-np.log(rows[i]) if lower else np.array(rows[i]) for i in (a, b))
            tests.append((float(stats.ttest_ind(x, y, equal_var=False).pvalue), s, a, b))
    rejected = set()
    for rank, (p, *key) in enumerate(sorted(tests)):
        if p * (len(tests) - rank) >= 0.05:
            break
        rejected.add(tuple(key))
    found: list[int | None] = []
    for s, rows in enumerate(sections):
        means = [np.mean(np.log(row) if lower else row) * (1 if lower else -1) for row in rows]
        best = int(np.argmin(means))
        pairs = [(s, a, b) for a, b in itertools.combinations(range(len(rows)), 2) if best in (a, b)]
        found.append(best if all(pair in rejected for pair in pairs) else None)
    return found


METHODS = ("wanda", "dsnot")


def rows_of(values: list[list[list[float]]], measure: str) -> tuple[StudyResults, list[list[Cell]]]:
    """A study with a section for each method and a row for each source, and these values over seeds."""
    cells = [[Cell(m, "0.6", s, "real", 128) for s, _ in zip("abcd", rows)] for m, rows in zip(METHODS, values)]  # noqa: B905
    task, metric, scale = ("fiction", "perplexity", 1) if measure == "perplexity" else ("arc_easy", "acc", 100)
    fixed = {"model": "m", "task": task, "metric": metric, "n": 10**6}
    rows = [{**Cell("dense", "0").columns, **fixed, "value": 0.9}]
    for section, numbers_ in zip(cells, values, strict=True):
        for cell, seeds in zip(section, numbers_, strict=True):
            rows += [{**cell.columns, **fixed, "seed": i, "value": v / scale} for i, v in enumerate(seeds)]
    return StudyResults(pl.DataFrame(rows, schema=COLUMNS), Study("s", "m")), cells


def best_of(values: list[list[list[float]]], measure: str) -> list[int | None]:
    """The row that is marked in each section."""
    data, cells = rows_of(values, measure)
    marked = best_cells(data, Decisions(), cells, data.measures)
    best = {cell for cell, _ in marked}
    return [next((i for i, cell in enumerate(section) if cell in best), None) for section in cells]


@pytest.mark.parametrize("measure", ["perplexity", "accuracy"])
def test_the_best_row_is_the_one_that_the_definition_gives(measure: str) -> None:
    rng = np.random.default_rng(2)
    seen: set[bool] = set()
    for gap in (0.0, 0.5, 1.0, 2.0, 4.0):
        for _ in range(3):
            sections = [[rng.normal(60 + gap * row, 1.0, 6).tolist() for row in rng.permutation(3)] for _ in range(2)]
            found = best_of(sections, measure)
            assert found == brute_best(sections, measure == "perplexity")
            seen |= {row is not None for row in found}
    assert seen == {True, False}


def test_no_row_is_best_without_a_test() -> None:
    other = [[60.0, 61.0]]
    assert best_of([[[1.0], [9.0]], other], "perplexity") == [None, None]  # one seed; nothing to compare with
    assert best_of([[[1.0, 1.0], [9.0, 9.0]], other], "perplexity") == [None, None]  # no spread
    assert best_of([[[1.0, 1.1], [9.0, 9.1]], other], "perplexity") == [0, None]


def test_marks_are_rare_when_nothing_differs() -> None:
    rng = np.random.default_rng(3)
    marked = 0
    for _ in range(200):
        values = [[rng.normal(60, 1, 5).tolist() for _ in range(4)], [[60.0, 61.0]]]
        marked += best_of(values, "accuracy") != [None, None]
    assert marked / 200 <= 0.05


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=2, max_size=12), st.lists(numbers, min_size=2, max_size=12))
def test_superiority_is_the_share_of_pairs_above_half(higher: list[float], lower: list[float]) -> None:
    found, turned = (superiority(np.array(a), np.array(b)) for a, b in ((higher, lower), (lower, higher)))
    pairs = [1.0 if h > x else 0.5 if h == x else 0.0 for h in higher for x in lower]
    assert found is not None
    assert turned is not None
    assert found.mean == pytest.approx(100 * np.mean(pairs) - 50, abs=1e-9)
    assert turned.mean == pytest.approx(-found.mean, abs=1e-9)
    if found.low is not None and found.high is not None:
        assert -50 <= found.low <= found.mean <= found.high <= 50
        assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-6)
        assert turned.p == pytest.approx(found.p, abs=1e-9)


def test_the_error_of_superiority_is_delongs() -> None:
    """His two components by brute force over all pairs, and the interval on the logit scale."""
    rng = np.random.default_rng(6)
    higher, lower = rng.normal(0.7, 1, 23).round(1), rng.normal(0, 1, 31).round(1)  # with ties
    kernel = (higher[:, None] > lower) + 0.5 * (higher[:, None] == lower)
    area = kernel.mean()
    variance = kernel.mean(axis=1).var(ddof=1) / 23 + kernel.mean(axis=0).var(ddof=1) / 31
    half = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    found = superiority(higher, lower)
    assert found is not None
    expected = 100 / (1 + np.exp(-(logit + np.array([-half, half])))) - 50
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-6)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(logit) * 1.959964 / half), rel=1e-4)
    assert found.p is not None
    assert (found.p < 0.05) == found.excludes_zero
    assert (found.n, found.df, found.error) == (54, 0, None)


@pytest.mark.parametrize("shift", [0.0, 0.8, 2.5])
def test_the_interval_of_superiority_covers_the_true_share(shift: float) -> None:
    rng = np.random.default_rng(4)
    truth, held, above = 100 * float(stats.norm.cdf(shift / np.sqrt(2))) - 50, 0, 0
    for _ in range(400):
        found = superiority(rng.normal(shift, 1, 40), rng.normal(0, 1, 60))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
        above += found.low > 0
    assert 0.92 <= held / 400 <= 0.985
    assert above / 400 <= 0.045 if shift == 0 else above / 400 > 0.95


@pytest.mark.parametrize(("m", "n"), [(3, 2), (10, 10), (60, 60), (10, 100)])
def test_superiority_without_overlap_has_newcombes_interval(m: int, n: int) -> None:
    """No certainty: the lower end solves 1 - x = z sqrt(V(x)), with V by Hanley and McNeil's two terms."""
    found = superiority(np.arange(m) + 1000.0, np.arange(n, dtype=float))
    assert found is not None
    assert found.low is not None
    assert (found.mean, found.high) == (50, 50)
    x = found.low / 100 + 0.5
    both = (m + n) / 2
    q1, q2 = x / (2 - x), 2 * x * x / (1 + x)
    variance = (x * (1 - x) + (both - 1) * (q1 - x * x) + (both - 1) * (q2 - x * x)) / (m * n)
    assert 1 - x == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)
    turned = superiority(np.arange(n, dtype=float), np.arange(m) + 1000.0)
    assert turned is not None
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-50, -50, -found.low))
    assert found.p == pytest.approx(turned.p)
    if m == 60:
        assert found.low > 40
        assert found.p is not None
        assert found.p < 1e-10


def test_superiority_needs_two_values_that_differ() -> None:
    assert superiority(np.array([3.0]), np.array([0.0, 1.0])) is None
    flat = superiority(np.array([3.0, 3.0]), np.array([3.0, 3.0]))
    assert flat is not None
    assert (flat.mean, flat.low, flat.p) == (0.0, None, None)


def test_effects_are_ranges_of_averages_over_the_other_factor() -> None:
    frame = make_frame(origins=("real",), seeds=4)
    data = StudyResults(frame, make_study())
    measure = data.perplexities[0]
    found = effects(data, "0.6", measure)
    values = {
        (m, s): np.array(list(data.scores(data.at(m, "0.6", s, "real"), measure).values()))
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


def test_effects_need_two_of_each_and_an_interval_two_sets() -> None:
    data = StudyResults(make_frame(origins=("real",), seeds=1), make_study())
    found = effects(data, "0.6", data.averages[0])
    assert found.text is not None
    assert found.text.low is None
    single = StudyResults(make_frame(origins=("real",), methods=("wanda",)), make_study())
    assert effects(single, "0.6", single.averages[0]).method is None
    assert effects(single, "0.5", single.averages[0]).text is None


def test_the_range_of_sources_is_that_of_one_method() -> None:
    data = StudyResults(make_frame(origins=("real",), seeds=4), make_study())
    measure = data.averages[0]
    groups = {s: list(data.scores(data.at("dsnot", "0.6", s, "real"), measure).values()) for s in data.sources}
    assert source_range(data, "dsnot", "0.6", measure) == value_range(groups)


def test_the_fall_of_the_deviation_is_its_trend_over_all_doublings() -> None:
    frame = make_frame(methods=("wanda",), sparsities=("2:4",), origins=("real",), samples=(64, 256, 2048), seeds=6)
    data = StudyResults(frame, make_study())
    scope, models = Scope(data, data.perplexities[0]), {("wanda", "2:4"): 1.0}
    lines = {s: {n: data.text(s, "real", samples=n) for n in (64, 256, 2048)} for s in data.sources}
    found = deviation_contrast(scope, models, lines, "2:4")
    chosen = frame.filter((pl.col("task") == "alpaca") & pl.col("source").is_not_null())
    groups = [
        (np.log(n), (-100 * np.log(group["value"])).to_list())
        for (n, _), group in chosen.group_by("samples", "source", maintain_order=True)
    ]
    trend = deviation_trend(groups)
    assert found is not None
    assert trend is not None
    assert trend.low is not None
    assert trend.high is not None
    doublings = np.log(2048 / 64)
    expected = (-trend.mean * doublings, -trend.high * doublings, -trend.low * doublings)
    assert (found.estimate.mean, found.estimate.low, found.estimate.high) == pytest.approx(expected)
    assert found.estimate.p == pytest.approx(trend.p)
    assert (found.unit, found.sets) == ("log ratio", 6)


def test_settings_are_ordered_from_free_to_strict() -> None:
    assert in_order(["2:4", "0.6", "4:8", "0.5", "1:4"]) == ["0.5", "0.6", "4:8", "2:4", "1:4"]
