"""Statistics against scipy, simulation, and published power tables."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibrant.reporting.inference import power, statistics

numbers = st.floats(-100, 100).map(lambda x: round(x, 3))
samples = st.lists(numbers, min_size=2, max_size=9)


def test_estimate_equals_scipy() -> None:
    values = [62.12, 64.71, 63.88, 64.78, 63.40]
    found = statistics.estimate(values)
    test = stats.ttest_1samp(values, 0)
    interval = test.confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert found.sd == pytest.approx(stats.tstd(values), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert found.p == pytest.approx(test.pvalue, rel=1e-9)
    assert (found.n, found.df) == (5, 4)
    assert found.error == pytest.approx(stats.sem(values))


def test_one_seed_has_a_mean_and_nothing_else() -> None:
    assert statistics.estimate([3.0]) == statistics.Estimate(3.0, None, 1)
    assert statistics.estimate([3.0]).error is None


def test_equal_values_have_no_interval() -> None:
    found = statistics.estimate([0.1 + 0.2, 0.3])  # equal but for rounding
    assert found.low is None
    assert found.p is None
    assert not found.excludes_zero


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_estimate_refuses(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        statistics.estimate(values)
    with pytest.raises(ValueError, match="a weight for each group"):
        statistics.combination([[1.0, 2.0], values], [1.0, -1.0])


def test_a_combination_needs_a_weight_for_each_group() -> None:
    for groups, weights in (([[1.0, 2.0]], [1.0, -1.0]), ([], [])):
        with pytest.raises(ValueError, match="a weight for each group"):
            statistics.combination(groups, weights)


@given(samples, samples)
def test_two_groups_equal_welchs_test_of_scipy(one: list[float], other: list[float]) -> None:
    found = statistics.combination([one, other], [1.0, -1.0])
    assert found.mean == pytest.approx(np.mean(one) - np.mean(other), abs=1e-9)
    if found.low is None:
        assert np.ptp(one) < 1e-9
        assert np.ptp(other) < 1e-9
        return
    test = stats.ttest_ind(one, other, equal_var=False)
    interval = test.confidence_interval(0.95)
    assert found.df == pytest.approx(test.df, rel=1e-6)
    assert found.p == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@given(st.lists(samples, min_size=1, max_size=5), st.lists(numbers, min_size=5, max_size=5), numbers)
def test_a_combination_of_many_groups_by_the_textbook(
    groups: list[list[float]], weights: list[float], offset: float
) -> None:
    """Satterthwaite's formula term by term, written anew."""
    weights = weights[: len(groups)]
    found = statistics.combination(groups, weights, offset)
    total, variance, below = offset, 0.0, 0.0
    for w, group in zip(weights, groups, strict=True):
        mean = sum(group) / len(group)
        squares = sum((x - mean) ** 2 for x in group) / (len(group) - 1)
        total += w * mean
        variance += w**2 * squares / len(group)
        below += (w**2 * squares / len(group)) ** 2 / (len(group) - 1)
    assert found.mean == pytest.approx(total, abs=1e-6)
    assert found.n == sum(map(len, groups))
    if found.low is not None and below > 0:
        df = variance**2 / below
        assert found.df == pytest.approx(df, rel=1e-6)
        assert found.high == pytest.approx(total + stats.t.ppf(0.975, df) * math.sqrt(variance), rel=1e-6, abs=1e-6)
        assert min(map(len, groups)) - 1 <= df * (1 + 1e-9)
        assert df <= (found.n - len(groups)) * (1 + 1e-9)


@pytest.mark.parametrize("sets", [3, 5, 20])
def test_intervals_of_combinations_cover_the_true_value(sets: int) -> None:
    """Four texts against four, with deviations that differ fourfold: 95 % within simulation error."""
    rng, covered, trials = np.random.default_rng(0), 0, 1000
    sds = np.array([0.1, 0.2, 0.2, 0.4, 0.1, 0.15, 0.2, 0.3])
    weights = [0.25] * 4 + [-0.25] * 4
    for values in rng.normal(0, sds[:, None], (trials, 8, sets)):
        found = statistics.combination(list(values), weights, 0.7)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7 <= found.high
    assert covered / trials == pytest.approx(0.95, abs=0.02)


def test_a_group_of_one_value_leaves_no_interval() -> None:
    found = statistics.combination([[1.0, 2.0], [3.0]], [1.0, -1.0])
    assert (found.mean, found.n, found.low, found.p, found.df) == (-1.5, 3, None, None, 0)
    assert found.sd == pytest.approx(math.sqrt(0.5))


@given(st.lists(samples, min_size=1, max_size=4))
def test_the_pooled_deviation_is_that_of_the_residuals(groups: list[list[float]]) -> None:
    residuals = np.concatenate([np.array(group) - np.mean(group) for group in groups])
    expected = math.sqrt((residuals**2).sum() / (len(residuals) - len(groups)))
    assert statistics.pooled_deviation(groups) == pytest.approx(expected, abs=1e-9)
    assert statistics.pooled_deviation([*groups, [1.0], []]) == pytest.approx(expected, abs=1e-9)


def test_single_values_have_no_deviation() -> None:
    assert statistics.pooled_deviation([[1.0], [2.0], []]) is None


def test_two_values_have_the_wide_t_interval() -> None:
    found = statistics.estimate([-1.0, -3.0])
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(12.7062 * math.sqrt(2) / math.sqrt(2), rel=1e-5)
    assert not found.excludes_zero


def test_holm_known_example() -> None:
    # Holm by hand: 0.005*4, 0.01*3, 0.03*2, 0.04*1 with running maxima.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([None, 0.03, None]) == [None, 0.03, None]
    assert statistics.holm([None, None]) == [None, None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_is_monotone_and_between_raw_and_bonferroni(p: list[float]) -> None:
    adjusted = statistics.holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert value is not None
        assert raw - 1e-12 <= value <= min(1.0, raw * len(p)) + 1e-12
    order = np.argsort(p, kind="stable")
    ranked = [adjusted[i] for i in order]
    assert ranked == sorted(ranked)  # type: ignore[type-var]


def holm_by_definition(p: list[float]) -> list[float]:
    """The smallest level at which Holm's procedure rejects each hypothesis, by running the procedure."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    levels = sorted({min(1.0, (len(p) - rank) * p[i]) for rank, i in enumerate(order)} | {1.0})
    found = [1.0] * len(p)
    for level in reversed(levels):
        for rank, i in enumerate(order):
            if p[i] > level / (len(p) - rank) * (1 + 1e-12):
                break
            found[i] = level
    return found


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=8))
def test_holm_equals_the_procedure_run_at_every_level(p: list[float]) -> None:
    assert statistics.holm(p) == pytest.approx(holm_by_definition(p), rel=1e-9)


def test_holm_keeps_the_rate_of_any_wrong_rejection() -> None:
    p = np.random.default_rng(2).uniform(size=(4000, 8))
    wrong = sum(min(x for x in statistics.holm(row.tolist()) if x is not None) < 0.05 for row in p)
    assert wrong / 4000 == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("df", [1, 2, 5, 19, 1000])
def test_quantiles_and_tails_are_scipys(df: int) -> None:
    assert statistics.quantile(df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-10)
    assert statistics.quantile(df, 0.01) == pytest.approx(stats.t.ppf(0.995, df), rel=1e-10)
    for t in (-3.0, 0.0, 0.7, 4.0, 40.0):
        assert statistics.tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-10)


def test_infinite_degrees_of_freedom_are_normal() -> None:
    assert statistics.quantile(math.inf) == pytest.approx(stats.norm.ppf(0.975))
    assert statistics.tail(1.3, math.inf) == pytest.approx(stats.norm.sf(1.3))


@given(samples, st.sampled_from([-2.5, 0.0, 1.25]))
def test_one_sided_tests_equal_scipy_and_go_with_the_interval(values: list[float], bound: float) -> None:
    """Each is twice the one-sided p, so that it lies between 0 and 2, and the two add up to 2."""
    found = statistics.estimate(values)
    above, below = statistics.p_above(found, bound), statistics.p_below(found, bound)
    if found.low is None:
        assert above is None
        assert below is None
        return
    assert found.high is not None
    assert above is not None
    assert below is not None
    for p, alternative in ((above, "greater"), (below, "less")):
        expected = 2 * stats.ttest_1samp(values, bound, alternative=alternative).pvalue
        assert p == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert above + below == pytest.approx(2)
    if abs(found.low - bound) > 1e-9 and abs(found.high - bound) > 1e-9:
        assert (above < 0.05) == (found.low > bound)
        assert (below < 0.05) == (found.high < bound)
    assert min(above, below) == pytest.approx(stats.ttest_1samp(values, bound).pvalue, rel=1e-6, abs=1e-12)


def test_intervals_that_are_no_t_intervals_are_tested_against_zero_only() -> None:
    found = statistics.Estimate(3.0, None, 100, 1.0, 4.0, 0.002)
    assert (statistics.p_above(found), statistics.p_below(found)) == (0.002, 1.998)
    turned = replace(found, mean=-3.0, low=-4.0, high=-1.0)
    assert (statistics.p_above(turned), statistics.p_below(turned)) == (1.998, 0.002)
    with pytest.raises(ValueError, match="tested against 0"):
        statistics.p_above(found, 0.5)
    # A p that a correction brought to 1 (`gaps.larger_range`) says nothing of either side.
    assert statistics.p_above(replace(turned, p=1.0)) == statistics.p_below(replace(found, p=1.0)) == 1.0


@given(samples, st.sampled_from([0.3, 2.0, 50.0]))
def test_equivalence_is_the_larger_of_two_one_sided_tests(values: list[float], margin: float) -> None:
    found = statistics.estimate(values)
    p = statistics.equivalence(found, margin)
    if found.low is None:
        assert p is None
        return
    assert found.high is not None
    assert p is not None
    lower = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    upper = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert p == pytest.approx(2 * max(lower, upper), rel=1e-6, abs=1e-12)
    if abs(found.low + margin) > 1e-9 and abs(found.high - margin) > 1e-9:
        assert (p < 0.05) == (-margin < found.low and found.high < margin)


def test_equivalence_is_rarely_found_at_the_margin() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.2, (4000, 6))
    p = [statistics.equivalence(statistics.estimate(row), 0.5) for row in values]
    assert np.mean([x is not None and x < 0.05 for x in p]) == pytest.approx(0.025, abs=0.008)


# The trend of deviations.


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_the_trend_of_deviations_covers_the_true_one(seeds: int) -> None:
    """Four sources at six amounts, the deviation as the root of the amount: at least 95 % but for simulation error."""
    amounts = np.log([64, 128, 256, 512, 1024, 2048])
    rng, found = np.random.default_rng(4), []
    for _ in range(250):
        values = rng.normal(60, 0.2 * np.exp(-0.5 * (amounts - amounts[1]))[:, None, None], (6, 4, seeds))
        one = statistics.deviation_trend(
            [(x, row) for x, rows in zip(amounts.tolist(), values, strict=True) for row in rows.tolist()]
        )
        assert one is not None
        assert one.low is not None
        assert one.high is not None
        assert one.n == 24 * seeds
        found.append((one.mean, one.low <= -0.5 <= one.high))
    means, covered = np.array(found).T
    assert means.mean() == pytest.approx(-0.5, abs=4 * means.std() / math.sqrt(250))  # no bias, even with three seeds
    assert covered.mean() == pytest.approx(0.95, abs=0.042)


def test_the_trend_of_two_deviations_is_their_ratio() -> None:
    """With equal numbers of values the bias of the logarithm cancels, and there is nothing to weigh."""
    rng = np.random.default_rng(5)
    one, other = rng.normal(0, 1, 8), rng.normal(0, 1.5, 8)
    found = statistics.deviation_trend([(0.0, one.tolist()), (2.0, other.tolist())])
    assert found is not None
    assert found.mean == pytest.approx(math.log(other.std() / one.std()) / 2)
    assert found.df == math.inf
    exact = stats.f.sf((other.std() / one.std()) ** 2, 7, 7)
    assert found.p == pytest.approx(2 * min(exact, 1 - exact), abs=0.03)


def test_no_trend_without_two_places_that_vary() -> None:
    assert statistics.deviation_trend([(0.0, [1.0, 2.0]), (0.0, [1.0, 3.0])]) is None
    assert statistics.deviation_trend([(0.0, [1.0, 2.0]), (1.0, [1.0, 1.0])]) is None
    assert statistics.deviation_trend([(0.0, [1.0, 2.0]), (1.0, [1.0])]) is None
    assert statistics.deviation_trend([]) is None


# Power.


def of_deviation(sd: float, sets: int) -> statistics.Estimate:
    """An estimate of one text with this deviation."""
    return statistics.by_t(0.0, sd / math.sqrt(sets), sets - 1, sets, sd)


@pytest.mark.parametrize(("effect", "expected"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_sets_needed_equal_published_tables_of_the_paired_t_test(effect: float, expected: int) -> None:
    """From a study of that size; from another df are those of its own, scaled, which is one set off at most."""
    needed = power.sets_needed(of_deviation(1.0, expected), expected, effect)
    assert needed is not None
    assert abs(needed - expected) <= 1
    assert abs((power.sets_needed(of_deviation(1.0, 20), 20, effect) or 0) - expected) <= 1


@pytest.mark.parametrize("tests", [1, 20])
def test_power_by_simulation(tests: int) -> None:
    values = np.random.default_rng(0).normal(0.7, 1.0, (20_000, 12))
    p = stats.ttest_1samp(values, 0, axis=1).pvalue
    found = power.power(of_deviation(1.0, 12), 0.7, tests=tests)
    assert found == pytest.approx((p < 0.05 / tests).mean(), abs=0.01)


@pytest.mark.parametrize(("margin", "tests"), [(0.8, 1), (1.2, 1), (1.2, 20), (0.3, 1)])
def test_power_to_hold_a_true_zero_by_simulation(margin: float, tests: int) -> None:
    values = np.random.default_rng(1).normal(0, 1.0, (20_000, 12))
    p = [
        stats.ttest_1samp(values, m, axis=1, alternative=a).pvalue for m, a in ((-margin, "greater"), (margin, "less"))
    ]
    found = power.power(of_deviation(1.0, 12), margin, alike=True, tests=tests)
    held = (2 * np.maximum(*p) < 0.05 / tests).mean()
    # The error of a study is taken for the true one: where power is middling that says less than there is.
    assert found is not None
    assert held - 0.2 <= found <= held + 0.05


def test_power_of_a_difference_between_two_texts_by_simulation() -> None:
    """Five sets of each, deviation 0.2 points, a difference of 0.3."""
    rng = np.random.default_rng(2)
    one, other = rng.normal(0.3, 0.2, (20_000, 5)), rng.normal(0, 0.2, (20_000, 5))
    p = stats.ttest_ind(one, other, axis=1, equal_var=False).pvalue
    known = statistics.by_t(0.0, 0.2 * math.sqrt(2 / 5), 8, 10)
    assert power.power(known, 0.3) == pytest.approx((p < 0.05).mean(), abs=0.03)
    needed = power.sets_needed(known, 5, 0.3)
    assert needed is not None
    p = stats.ttest_ind(
        rng.normal(0.3, 0.2, (20_000, needed)), rng.normal(0, 0.2, (20_000, needed)), axis=1, equal_var=False
    ).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.06)
    assert (p < 0.05).mean() >= 0.79


@pytest.mark.parametrize("alike", [False, True])
def test_sets_needed_are_the_fewest_with_enough_power(alike: bool) -> None:
    for sd, sets, effect, tests, each_of in ((0.28, 5, 0.3, 1, 1), (0.56, 5, 0.3, 20, 1), (0.2, 3, 0.5, 25, 6)):
        found = of_deviation(sd, sets)
        options = {"alike": alike, "tests": tests, "each_of": each_of}
        needed = power.sets_needed(found, sets, effect, **options)  # type: ignore[arg-type]
        assert needed is not None
        enough, fewer = (
            power.power(found, effect, times=n / sets, **options)  # type: ignore[arg-type]
            for n in (needed, needed - 1)
        )
        assert enough is not None
        assert fewer is not None
        assert enough >= 0.8
        assert fewer < 0.8 or needed == 2


def test_each_of_several_has_less_power_than_one() -> None:
    found = of_deviation(0.2, 5)
    one, six = (power.power(found, 0.5, each_of=n) for n in (1, 6))
    assert one is not None
    assert six == pytest.approx(max(0.0, 1 - 6 * (1 - one)))
    rng = np.random.default_rng(3)
    p = stats.ttest_1samp(rng.normal(0.5, 0.2, (5000, 6, 5)), 0, axis=2).pvalue
    assert (p < 0.05).all(axis=1).mean() >= six - 0.02  # Bonferroni's inequality


def test_power_far_from_zero_is_one_and_without_an_interval_unknown() -> None:
    found = of_deviation(0.001, 5)
    assert power.power(found, 5.0) == pytest.approx(1)
    assert power.power(found, 5.0, tests=1000) == pytest.approx(1)
    for bare in (statistics.estimate([1.0]), statistics.Estimate(1.0, None, 9, 0.5, 1.5, 0.01)):
        assert power.power(bare, 0.3) is None
        assert power.sets_needed(bare, 1, 0.3) is None
    assert power.power(found, 0.0) is None
    assert power.sets_needed(found, 5, 0.0) is None
    assert power.sets_needed(of_deviation(1000.0, 5), 5, 0.3) is None  # more than a million
