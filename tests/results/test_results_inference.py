"""Inference against scipy, by hand, and with what it must never say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.statistics.inference import (
    Inference,
    Statistic,
    combined,
    contrast,
    mean_of,
    over_items,
    over_trainings,
    same_sign,
)

NONE = np.zeros((5, 5))


def test_seeds_without_item_error_are_students_t_test() -> None:
    values = np.array([0.3, 1.2, 0.7, -0.1, 0.9])
    found, theirs = over_trainings(values, NONE, 300), stats.ttest_1samp(values, 0)
    low, high = found.interval()
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.p_above(0.2) == pytest.approx(stats.ttest_1samp(values, 0.2, alternative="greater").pvalue)
    assert found.p_below(0.2) == pytest.approx(stats.ttest_1samp(values, 0.2, alternative="less").pvalue)


def test_one_seed_is_students_t_test_over_its_items() -> None:
    items = np.random.default_rng(0).normal(0.2, 1, size=40)
    one = Statistic(np.array([items.mean()]), {"a": ((items - items.mean()) / 40)[None]})
    theirs = stats.ttest_1samp(items, 0)
    assert contrast(one).p == pytest.approx(theirs.pvalue)
    assert (contrast(one).low, contrast(one).high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_two_seeds_on_the_same_items_know_what_they_share() -> None:
    rng = np.random.default_rng(1)
    items = rng.normal(size=(2, 50))
    moves = (items - items.mean(1, keepdims=True)) / 50
    found = Statistic(items.mean(1), {"a": moves}).infer()
    between = items.mean(1).var(ddof=1)
    shared = np.cov(items)[0, 1] / 50
    own = np.cov(items).trace() / 2 / 50 - shared
    least = stats.chi2.ppf(0.05, 1) * own
    assert found.error**2 == pytest.approx(max(between, least) / 2 + max(shared, 0))
    apart = {"a": moves * [[1], [0]], "b": moves * [[0], [1]]}
    assert Statistic(items.mean(1), apart).infer().error ** 2 == pytest.approx(
        max(between, stats.chi2.ppf(0.05, 1) * np.cov(items).trace() / 2 / 50) / 2
    )


def test_a_difference_of_means_is_paired_over_the_items_that_they_share() -> None:
    rng = np.random.default_rng(2)
    a, b, c = rng.normal(size=(3, 30))
    one, two, other = (
        Statistic(np.array([x.mean()]), {n: (x - x.mean())[None] / 30}) for x, n in ((a, "t"), (b, "t"), (c, "u"))
    )
    gap = mean_of([one, other]) - mean_of([two, other])
    assert contrast(gap).p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    both = combined([one, other], [0.5, np.array([0.5])]).infer()
    assert both.error**2 == pytest.approx((a.var(ddof=1) + c.var(ddof=1)) / 4 / 30)


def test_p_is_below_five_percent_exactly_where_the_interval_leaves_zero_out() -> None:
    found = Inference(np.linspace(-4, 4, 999), np.ones(999), np.full(999, 2.3))
    low, high = found.interval()
    assert ((found.p < 0.05) == ((low > 0) | (high < 0))).all()


def test_three_seeds_that_happen_to_agree_are_not_certain() -> None:
    cov = np.eye(3) * 4.0
    found = over_trainings(np.full(3, 1.0), cov, 300)
    assert found.error > 0.2
    assert found.p > 0.05


def test_equal_models_do_not_differ_and_units_that_all_say_the_same_are_not_certain_either() -> None:
    same = over_trainings(np.zeros(3), np.zeros((3, 3)), 300)
    assert (float(same.p), *map(float, same.interval())) == (1.0, 0.0, 0.0)
    all_items = over_items(np.array(1.0), np.array(0.0), 10)
    assert 0 < all_items.error < 0.1
    assert over_trainings(np.zeros(1), np.zeros((1, 1)), 300).p == 1.0


def test_what_was_not_scored_has_no_number() -> None:
    found = over_trainings(np.array([1.0, np.nan]), np.zeros((2, 2)), 10)
    assert np.isnan([found.value, found.error, found.p, *found.interval(), found.detectable()]).all()


def test_signs_are_counted_beside_the_test() -> None:
    assert same_sign(np.array([[1.0, 2.0, -0.5], [0.0, 1.0, 1.0], [-1.0, -1.0, -2.0]])).tolist() == [2, 2, 3]


def test_the_logarithm_and_back_are_straight_lines() -> None:
    rng = np.random.default_rng(3)
    moves = {"a": 1e-3 * rng.normal(size=(3, 20))}
    values = np.array([2.0, 2.1, 1.9])
    back = Statistic(values, moves).log().exp_of_mean()
    assert back.value == pytest.approx(stats.gmean(values))
    assert back.infer().error == pytest.approx(Statistic(values, moves).infer().error, rel=0.01)
