"""Statistics against scipy, against a linear model, and against published power tables."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibrant.reporting.inference import statistics

numbers = st.floats(-100, 100).map(lambda x: round(x, 3))


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


def test_one_seed_has_a_mean_and_nothing_else() -> None:
    assert statistics.estimate([3.0]) == statistics.Estimate(3.0, None, 1)


def test_equal_values_have_no_interval() -> None:
    found = statistics.estimate([0.1 + 0.2, 0.3])  # equal but for rounding
    assert found.low is None
    assert found.p is None
    assert not found.excludes_zero


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_estimate_refuses(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        statistics.estimate(values)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=8))
def test_paired_difference_equals_scipy(pairs: list[tuple[float, float]]) -> None:
    first, second = [list(column) for column in zip(*pairs, strict=True)]
    found = statistics.paired_difference(first, second)
    if found.p is None:
        assert np.ptp(np.subtract(second, first)) < 1e-9
        return
    test = stats.ttest_rel(second, first)
    assert found.p == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


def test_two_pairs_have_the_wide_t_interval() -> None:
    found = statistics.estimate([-1.0, -3.0])
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(12.7062 * math.sqrt(2) / math.sqrt(2), rel=1e-5)
    assert not found.excludes_zero


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="as many first as second values"):
        statistics.paired_difference([1.0, 2.0], [1.0])


def test_pooled_equals_a_linear_model_with_a_mean_for_each_source() -> None:
    """The contrast 'average of the group means' in ordinary least squares, computed with the design matrix."""
    groups = [[-1.0, -2.5, -1.4], [0.3, 0.9], [-4.0, -3.1, -3.3, -2.0]]
    y = np.concatenate(groups)
    X = np.zeros((len(y), 3))
    X[np.arange(len(y)), np.repeat([0, 1, 2], [3, 2, 4])] = 1
    beta, residual, _, _ = np.linalg.lstsq(X, y, rcond=None)
    df = len(y) - 3
    contrast = np.full(3, 1 / 3)
    error = math.sqrt(residual[0] / df * contrast @ np.linalg.inv(X.T @ X) @ contrast)
    found = statistics.pooled(groups)
    assert found.mean == pytest.approx(contrast @ beta, rel=1e-12)
    assert found.df == df
    assert found.low == pytest.approx(contrast @ beta - stats.t.ppf(0.975, df) * error, rel=1e-9)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(contrast @ beta) / error, df), rel=1e-9)


@given(st.lists(numbers, min_size=2, max_size=9))
def test_pooled_of_one_group_is_the_estimate(values: list[float]) -> None:
    one, other = statistics.pooled([values]), statistics.estimate(values)
    assert (one.mean, one.n, one.df) == (other.mean, other.n, other.df)
    assert (one.low is None) == (other.low is None)
    if one.low is not None:
        assert one.low == pytest.approx(other.low, rel=1e-9, abs=1e-9)


def test_pooled_single_values_have_no_interval() -> None:
    found = statistics.pooled([[1.0], [2.0]])
    assert (found.mean, found.sd, found.low) == (1.5, None, None)


def test_holm_known_example() -> None:
    # Holm by hand: 0.005*4, 0.01*3, 0.03*2, 0.04*1 with running maxima.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([None, 0.03, None]) == [None, 0.03, None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_is_monotone_and_between_raw_and_bonferroni(p: list[float]) -> None:
    adjusted = statistics.holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert value is not None
        assert raw - 1e-12 <= value <= min(1.0, raw * len(p)) + 1e-12
    order = np.argsort(p, kind="stable")
    ranked = [adjusted[i] for i in order]
    assert ranked == sorted(ranked)  # type: ignore[type-var]


@pytest.mark.parametrize(("effect", "expected"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_equals_published_tables_of_the_paired_t_test(effect: float, expected: int) -> None:
    assert statistics.seeds_needed(1.0, effect) == expected


def test_power_by_simulation() -> None:
    rng = np.random.default_rng(0)
    p = stats.ttest_1samp(rng.normal(0.7, 1.0, (20_000, 12)), 0, axis=1).pvalue
    assert statistics.power(12, 1.0, 0.7) == pytest.approx((p < 0.05).mean(), abs=0.01)


def test_seeds_needed_for_a_tiny_effect_is_large_and_finite() -> None:
    assert statistics.seeds_needed(1.0, 0.001) == pytest.approx(7_848_880, rel=1e-3)
    with pytest.raises(ValueError, match="positive spread"):
        statistics.seeds_needed(0.0, 1.0)


def test_seeds_for_three_tenths_of_a_point_by_simulation() -> None:
    """With the paper's deviation (0.2 points a text, so 0.28 between independent ones), and with twice that."""
    for sd in (0.28, 0.56):
        n = statistics.seeds_needed(sd, 0.3)
        assert statistics.power(n, sd, 0.3) >= 0.8 > statistics.power(n - 1, sd, 0.3)
        x = np.random.default_rng(1).normal(0.3, sd, (20_000, n))
        assert (stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(
            statistics.power(n, sd, 0.3), abs=0.01
        )
    assert statistics.seeds_needed(0.28, 0.3) == 9
    assert statistics.seeds_needed(0.56, 0.3) == 30


@pytest.mark.parametrize("df", [1, 2, 5, 19, 1000])
def test_quantiles_and_tails_are_scipys(df: int) -> None:
    assert statistics.quantile(df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-10)
    for t in (-3.0, 0.0, 0.7, 4.0, 40.0):
        assert statistics.tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-10)


@given(st.lists(numbers, min_size=2, max_size=9), st.sampled_from([-2.5, 0.0, 1.25]))
def test_one_sided_tests_equal_scipy_and_go_with_the_interval(values: list[float], bound: float) -> None:
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
        expected = min(1.0, 2 * stats.ttest_1samp(values, bound, alternative=alternative).pvalue)
        assert p == pytest.approx(expected, rel=1e-6, abs=1e-12)
    if abs(found.low - bound) > 1e-9 and abs(found.high - bound) > 1e-9:
        assert (above < 0.05) == (found.low > bound)
        assert (below < 0.05) == (found.high < bound)
    assert min(above, below) == pytest.approx(2 * min(above / 2, 1 - above / 2) if above < 1 else below, rel=1e-6)


@given(st.lists(numbers, min_size=2, max_size=9), st.sampled_from([0.3, 2.0, 50.0]))
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
    assert p == pytest.approx(min(1.0, 2 * max(lower, upper)), rel=1e-6, abs=1e-12)
    if abs(found.low + margin) > 1e-9 and abs(found.high - margin) > 1e-9:
        assert (p < 0.05) == (-margin < found.low and found.high < margin)


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


def test_bootstrap_equals_resampling_by_hand() -> None:
    """Percentiles of many resamples of the difference of medians, drawn with another generator."""
    rng = np.random.default_rng(5)
    one, other = rng.normal(0, 1, 40), rng.normal(0.8, 1, 60)

    def statistic(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(np.median(y, axis=axis) - np.median(x, axis=axis))

    found = statistics.bootstrap([one.tolist(), other.tolist()], statistic, resamples=5000)
    drawn = np.median(rng.choice(other, (20_000, 60)), axis=1) - np.median(rng.choice(one, (20_000, 40)), axis=1)
    assert found.mean == pytest.approx(np.median(other) - np.median(one))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.04)
    assert found.p == pytest.approx(2 * (drawn <= 0).mean(), abs=0.01)
    assert (found.n, found.df, found.sd, found.error) == (100, 0, None, None)


def test_bootstrap_of_a_mean_approaches_the_normal_interval() -> None:
    x = np.random.default_rng(6).normal(3, 2, 400)
    found = statistics.bootstrap([x.tolist()], np.mean)
    half = 1.96 * x.std() / 20
    assert (found.low, found.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.03)
    assert found.excludes_zero
    assert found.p == pytest.approx(2 / 2001)


def test_bootstrap_is_seeded_and_has_no_interval_without_spread() -> None:
    x = np.random.default_rng(7).normal(1, 2, 30).tolist()
    assert statistics.bootstrap([x], np.mean) == statistics.bootstrap([x], np.mean)
    assert statistics.bootstrap([x], np.mean) != statistics.bootstrap([x], np.mean, seed=1)
    flat = statistics.bootstrap([[2.0, 2.0, 2.0]], np.median)
    assert (flat.mean, flat.low, flat.p) == (2.0, None, None)
    with pytest.raises(ValueError, match="two finite values or more"):
        statistics.bootstrap([[1.0], [1.0, 2.0]], np.mean)
    with pytest.raises(ValueError, match="tested against 0"):
        statistics.p_above(statistics.bootstrap([x], np.mean), 0.5)
    assert statistics.p_below(statistics.bootstrap([[1.0, 2.0, 4.0]], np.mean)) == 1.0
