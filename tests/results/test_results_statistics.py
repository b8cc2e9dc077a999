"""Closed forms against scipy and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.statistics.closed_form import cluster_variance, effective_n, holm, mcnemar_exact, spearman, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (150, 300), (299, 300), (300, 300)])
def test_wilson_equals_scipy(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    low, high = wilson(right / n, n)
    assert (low, high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))


def test_wilson_by_hand_for_one_half_of_ten() -> None:
    # z² = 3.8415: half = sqrt(0.25/10 + 3.8415/400) · 1.95996 / (1 + 0.38415) = 0.26341
    low, high = wilson(0.5, 10)
    assert low == pytest.approx(0.5 - 0.26341, abs=1e-5)
    assert high == pytest.approx(0.5 + 0.26341, abs=1e-5)


def test_wilson_covers_the_truth_about_95_times_in_100() -> None:
    right = np.random.default_rng(0).binomial(300, 0.37, size=20_000)
    low, high = wilson(right / 300, 300)
    assert 0.94 <= np.mean((low <= 0.37) & (high >= 0.37)) <= 0.96


def test_cluster_variance_of_single_items_is_the_sample_variance_of_a_mean() -> None:
    answers = np.array([1.0, 0, 0, 1, 1, 0, 1, 1])
    found = cluster_variance(answers[:, None], np.ones(8))
    assert found[0] == pytest.approx(answers.var(ddof=1) / 8)


def test_cluster_variance_grows_when_items_of_a_cluster_agree() -> None:
    answers = np.repeat([1.0, 0, 0, 1], 5)
    alone = cluster_variance(answers[:, None], np.ones(20))
    together = cluster_variance(answers.reshape(4, 5).sum(1)[:, None], np.full(4, 5.0))
    assert together[0] > 4 * alone[0]
    # four clusters that agree inside are worth about four items, never fewer
    assert effective_n(np.array([0.5]), together, 20, 4)[0] == 4


def test_effective_number_of_a_rate_of_zero_is_the_number_of_clusters() -> None:
    assert effective_n(np.array([0.0]), np.array([0.0]), 300, 60)[0] == 60
    assert effective_n(np.array([0.0]), np.array([0.0]), 300, 300)[0] == 300


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 21), (0, 30), (260, 200)])
def test_mcnemar_equals_the_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(5_000, 5_200), (10**6, 10**6 + 5_000), (3 * 10**9, 3 * 10**9)])
def test_mcnemar_of_many_items_is_close_to_the_normal_test(b: int, c: int) -> None:
    assert mcnemar_exact(b, c) == pytest.approx(min(1, 2 * stats.norm.sf((c - b - 1) / np.sqrt(b + c))), rel=0.01)


def test_mcnemar_takes_many_pairs_at_once() -> None:
    b, c = np.array([1, 3, 0, 9]), np.array([7, 3, 0, 2])
    assert mcnemar_exact(b, c).tolist() == [float(mcnemar_exact(x, y)) for x, y in zip(b, c, strict=True)]


def test_holm_by_hand_keeps_order_and_leaves_missing_tests_out() -> None:
    # sorted .01 .02 .03 .04 × 4 3 2 1 = .04 .06 .06 .04, made monotone: .04 .06 .06 .06
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    with_gap = holm(np.array([0.01, np.nan, 0.02]))
    assert with_gap[[0, 2]].tolist() == pytest.approx([0.02, 0.02])
    assert np.isnan(with_gap[1])


def test_holm_keeps_the_family_wise_error_under_a_complete_null() -> None:
    p = np.random.default_rng(1).uniform(size=(2000, 40))
    assert np.mean([holm(row).min() < 0.05 for row in p]) < 0.065


def test_holm_takes_many_families_at_once() -> None:
    p = np.random.default_rng(2).uniform(size=(6, 4))
    p[2, 1] = np.nan
    assert np.array_equal(holm(p), np.stack([holm(column) for column in p.T], axis=1), equal_nan=True)


def test_spearman_equals_scipy_with_ties_and_its_permutation_p() -> None:
    x, y = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 1, 4, 4, 6, 3])
    rho, low, high, p = spearman(x, y)
    assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
    exact = stats.permutation_test(
        (x,), lambda a: abs(stats.spearmanr(a, y).statistic), permutation_type="pairings", alternative="greater"
    )
    assert p == pytest.approx(exact.pvalue)
    assert low < rho < high


def test_spearman_of_a_perfect_order_keeps_a_finite_inner_end() -> None:
    rho, low, high, p = spearman(np.arange(6.0), -np.arange(6.0))
    assert (rho, low) == (pytest.approx(-1), -1.0)
    assert -0.7 < high < -0.5
    assert p == pytest.approx(2 / 720)


def test_spearman_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # ρ_S of a bivariate normal with r = 0.6
    covered = []
    for _ in range(600):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=30).T
        _, low, high, _ = spearman(x, y)
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_spearman_has_no_answer_for_two_pairs_or_a_constant() -> None:
    assert np.isnan(spearman(np.arange(2.0), np.arange(2.0))[0])
    assert np.isnan(spearman(np.arange(5.0), np.ones(5))[0])
