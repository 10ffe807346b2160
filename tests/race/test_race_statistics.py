"""The race's tools one by one: critical values, spending, rounds, shrinkage, judging tokens."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibrant.errors import InputError
from calibrant.race import critical_values
from calibrant.race.evidence import Evidence, evidence_of
from calibrant.race.judging_tokens import Components, components, judging_tokens
from calibrant.race.losses import Losses
from calibrant.race.rounds import looks, next_round
from calibrant.race.set_variances import set_variances
from calibrant.race.shrinkage import expected_regret, posterior
from calibrant.race.spending import ALPHA, level


@pytest.mark.parametrize(
    ("alpha", "rivals", "correlation", "df"), [(0.05, 3, 0.5, 20), (0.01, 11, 0.2, 8), (0.03, 7, 0.8, 3)]
)
def test_dunnett_is_exceeded_as_often_as_it_says(alpha: float, rivals: int, correlation: float, df: int) -> None:
    value = critical_values.dunnett(alpha, rivals, correlation, df)
    rng = np.random.default_rng(0)
    draws = 200_000
    common, own = rng.normal(size=(draws, 1)), rng.normal(size=(draws, rivals))
    largest = (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own).max(axis=1)
    share = (largest / np.sqrt(rng.chisquare(df, draws) / df) > value).mean()
    assert share == pytest.approx(alpha, abs=4 * math.sqrt(alpha / draws))


def test_dunnett_is_that_of_published_tables() -> None:
    # Dunnett 1955, table 1a: one-sided, 5 %, correlation 0.5.
    for rivals, df, value in ((2, 10, 2.15), (4, 20, 2.30), (9, 60, 2.48)):
        assert critical_values.dunnett(0.05, rivals, 0.5, df) == pytest.approx(value, abs=0.015)


@pytest.mark.parametrize("df", [2, 9, 40, 1000])
@pytest.mark.parametrize("means", [2, 5, 12])
def test_tukey_is_the_studentized_range(means: int, df: int) -> None:
    expected = stats.studentized_range.ppf(0.97, means, df) / math.sqrt(2)
    assert critical_values.tukey(0.03, means, df) == pytest.approx(expected, rel=1e-4)


@given(st.integers(1, 12), st.floats(0, 0.94), st.integers(1, 200), st.floats(1e-5, 0.2))
def test_dunnett_lies_between_one_comparison_and_bonferroni(rivals: int, rho: float, df: int, alpha: float) -> None:
    value = critical_values.dunnett(alpha, rivals, rho, df)
    low, high = (stats.t.ppf(1 - share, df) for share in (alpha, alpha / rivals))
    # Degrees of freedom are rounded down, by no more than a fifth.
    assert value >= low * 0.999
    assert value <= max(high, stats.t.ppf(1 - alpha / rivals, max(1, 0.8 * df))) * 1.001


@given(st.lists(st.integers(1, 400), min_size=1, max_size=4, unique=True).map(sorted), st.data())
def test_looks_never_use_more_than_the_whole_error_rate(budgets: list[int], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(1, budgets[-1]), min_size=1, max_size=8, unique=True).map(sorted))
    levels = [level(used, earlier, budgets) for earlier, used in zip([0, *places], places, strict=False)]
    assert all(each >= 0 for each in levels)
    assert sum(levels) <= ALPHA + 1e-12
    # What a look could use does not depend on budgets that come later.
    first = [place for place in places if place <= budgets[0]]
    short = [level(used, earlier, budgets[:1]) for earlier, used in zip([0, *first], first, strict=False)]
    assert short == pytest.approx(levels[: len(first)])


@given(st.integers(2, 12), st.integers(0, 300), st.integers(0, 300))
def test_looks_begin_with_two_sets_each_and_end_with_the_budget(candidates: int, more: int, raised: int) -> None:
    budget = 2 * candidates + more
    found = looks(candidates, [budget])
    assert found[0] == 2 * candidates
    assert found[-1] == budget
    assert found == sorted(set(found))
    if raised:
        longer = looks(candidates, [budget, budget + raised])
        assert longer[: len(found)] == found
        assert longer[-1] == budget + raised
    measured = found[0]
    rounds = 0
    for look in found[1:]:
        while measured < look:
            following = next_round(measured, look)
            assert measured < following <= look
            measured, rounds = following, rounds + 1
    assert rounds < 40


def test_what_cannot_be_raced_says_what_would_be_enough() -> None:
    with pytest.raises(InputError, match="two candidates or more, and has 1"):
        looks(1, [20])
    with pytest.raises(InputError, match=r"--budget 7: is too small for 4 candidates.*give 8 or more"):
        looks(4, [7])
    with pytest.raises(InputError, match="20 sets are measured already"):
        looks(4, [20, 20])


def test_expected_regret_is_that_of_worlds_like_it() -> None:
    rng = np.random.default_rng(1)
    count, spread, error = 6, 0.03, 0.02
    told, true = [], []
    for _ in range(400):
        means = rng.normal(0, spread, count)
        measured = means + rng.normal(0, error, count)
        found = Evidence(
            measured, np.full(count, 4), np.full(count, 4 * error**2), 18, np.zeros((count, 20)), np.zeros(count), 20.0
        )
        told.append(expected_regret(found, found.leader))
        true.append(means[found.leader] - means.min())
    assert np.mean(told) == pytest.approx(np.mean(true), rel=0.25)


def test_equal_candidates_shrink_to_one_mean() -> None:
    means, deviations = posterior(np.array([0.1, 0.1001, 0.0999]), np.full(3, 0.01), np.array([1e-9]))
    assert deviations.max() < 1e-8
    assert np.ptp(means[0]) < 1e-8
    same = Evidence(means[0], np.full(3, 4), np.full(3, 0.01), 9, np.zeros((3, 20)), np.zeros(3), 20.0)
    assert 0 < expected_regret(same, 0) < 0.1


@given(
    st.floats(1e-5, 1e-2), st.floats(0, 5), st.floats(0, 5), st.floats(1, 300), st.floats(1e-3, 0.1), st.floats(2, 50)
)
def test_judging_tokens_make_a_mean_surest(
    sets: float, documents: float, interaction: float, mask: float, token: float, budgets: float
) -> None:
    found = Components(sets, documents, interaction)
    budget = budgets * 2 * mask
    best = judging_tokens(found, mask, token, budget)

    def variance(tokens: float) -> float:
        return found.mean_variance(budget / (mask + token * tokens), tokens)

    most = max(1.0, budget / 2 - mask) / token
    for other in np.geomspace(1, most, 50):
        assert variance(best) <= variance(other) * (1 + 2 / best) + 1e-15


def test_components_are_those_of_a_simulated_world() -> None:
    rng = np.random.default_rng(2)
    names, sets, documents, size = [f"c{i}" for i in range(12)], 30, 80, 200.0
    own, shared, both = 0.03**2, 4.0, 9.0  # the latter two of one token
    tokens = documents * size
    scores, pulls = {}, {}
    for name in names:
        luck = rng.normal(0, math.sqrt(own), sets)
        suits = rng.normal(0, math.sqrt(shared / size), documents)
        noise = rng.normal(0, math.sqrt(both / size), (sets, documents))
        by_document = luck[:, None] + suits + noise  # means of each document
        scores[name] = by_document.mean(axis=1)
        centred = by_document - by_document.mean(axis=1, keepdims=True)
        pulls[name] = centred / documents * math.sqrt(documents / (documents - 1))
    found = components(Losses(scores, pulls, [np.full(documents, size)]))
    assert found.sets == pytest.approx(own, rel=0.2)
    assert found.documents == pytest.approx(shared, rel=0.2)
    assert found.interaction == pytest.approx(both, rel=0.05)
    assert tokens == 16000


def test_a_summary_says_why_nothing_can_be_claimed() -> None:
    one = evidence_of([np.array([1.0]), np.array([2.0])], [np.zeros((1, 30))] * 2, 30.0)
    assert "no candidate has two sets" in one.reason
    few = evidence_of([np.array([1.0, 1.1]), np.array([2.0])], [np.zeros((2, 4)), np.zeros((1, 4))], 4.0)
    assert "4 documents of equal length, and 10 are needed" in few.reason


def test_alike_variances_are_pooled_and_unlike_ones_are_not() -> None:
    rng = np.random.default_rng(3)
    sets = np.full(8, 12)

    def found(deviations: np.ndarray) -> tuple[np.ndarray, float]:
        squares = deviations**2 * rng.chisquare(11, 8)
        return set_variances(squares, sets)

    pooled = [found(np.ones(8)) for _ in range(200)]
    assert np.mean([each[1] for each in pooled]) > 50  # of 88
    assert np.mean([each[0] for each in pooled]) == pytest.approx(1, abs=0.05)
    unlike = np.array([0.5] * 4 + [2.0] * 4)
    apart = np.mean([found(unlike)[0] for _ in range(200)], axis=0)
    assert apart[:4] == pytest.approx(np.full(4, 0.25), rel=0.35)
    assert apart[4:] == pytest.approx(np.full(4, 4.0), rel=0.2)


def test_variances_of_single_sets_are_unknown_and_two_candidates_share_one() -> None:
    variances, df = set_variances(np.zeros(3), np.ones(3, dtype=np.int64))
    assert df == 0
    assert np.isinf(variances).all()
    variances, df = set_variances(np.array([1.0, 9.0]), np.array([3, 3]))
    assert (variances.tolist(), df) == ([2.5, 2.5], 4.0)
