"""The bootstrap against naive resampling, closed forms and its own coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.statistics.bootstrap import Replicates, Resampler, counts, interval, over_seeds


def test_counts_are_draws_of_all_units_and_the_same_each_time() -> None:
    first = counts(30, 2_500, stream=4)
    assert (first.sum(1) == 30).all()
    assert (first == counts(30, 2_500, stream=4)).all()
    assert (first != counts(30, 2_500, stream=5)).any()
    assert first.mean() == pytest.approx(1.0)
    assert first.astype(float).var() == pytest.approx(1 - 1 / 30, rel=0.02)  # multinomial: n p (1 − p)


def test_sums_equal_naive_resampling_of_the_units() -> None:
    values = np.random.default_rng(0).normal(size=(3, 12))
    found = Resampler(200).sums(values, stream=1)
    drawn = counts(12, 200, stream=1)
    for replicate in (0, 17, 199):
        units = np.repeat(np.arange(12), drawn[replicate])
        assert found[:, replicate] == pytest.approx(values[:, units].sum(1))


def test_sums_of_right_and_wrong_answers_are_exact_integers() -> None:
    answers = (np.random.default_rng(0).random((5, 300)) < 0.3).astype(float)
    found = Resampler(500).sums(answers, stream=1)
    assert (found == np.rint(found)).all()


def test_a_row_that_is_not_finite_gives_nan_and_leaves_the_others_alone() -> None:
    values = np.ones((2, 10))
    values[0, 3] = -np.inf
    found = Resampler(50).sums(values, stream=1)
    assert np.isnan(found[0]).all()
    assert (found[1] == 10).all()


def test_interval_of_a_mean_agrees_with_scipy_bootstrap() -> None:
    values = np.random.default_rng(3).exponential(size=80)
    draws = Resampler().sums(values[None, :], stream=2) / 80
    low, high = interval(draws)
    ours = np.array([low[0], high[0]])
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert ours == pytest.approx(np.array(theirs), rel=0.01)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(80), rel=0.03)


def test_one_seed_gives_the_plain_bootstrap_and_several_are_held() -> None:
    draws = np.random.default_rng(6).normal(size=(2, 3, 100))
    assert (Replicates(draws).mean([1], [0]) == draws[1, 0]).all()
    assert Replicates(draws).mean([0, 1], [0, 2]) == pytest.approx(draws[:, [0, 2]].mean(1))


def test_several_seeds_are_a_t_interval_on_their_values_with_what_shared_items_add() -> None:
    values = np.array([1.0, 3.0, 2.0, 5.0])
    rng = np.random.default_rng(7)
    alone = over_seeds(values, 1e-3 * rng.normal(size=(4, 20_000)))
    theirs = stats.ttest_1samp(values, 0)
    assert (alone.low, alone.high) == pytest.approx(tuple(theirs.confidence_interval()), abs=0.01)
    assert alone.p == pytest.approx(theirs.pvalue, rel=0.01)
    shared = over_seeds(values, np.repeat(rng.normal(size=(1, 20_000)), 4, axis=0))
    assert shared.high - shared.low > alone.high - alone.low


def test_document_bootstrap_of_perplexity_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(8)
    trials, documents = 3_000, 200
    words = rng.integers(30, 120, size=(trials, documents)).astype(float)
    nats = words * (0.8 + 0.1 * rng.normal(size=words.shape))
    resampler = Resampler(4_000)
    ratio = resampler.sums(nats, stream=1) / resampler.sums(words, stream=1)
    low, high = interval(np.exp(ratio))
    truth = np.exp(0.8)
    assert 0.935 <= np.mean((low <= truth) & (high >= truth)) <= 0.965


def test_paired_bootstrap_of_two_rates_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(9)
    trials, items = 3_000, 300
    difficulty = rng.normal(size=(trials, items))
    a = (0.8 * difficulty + 0.6 * rng.normal(size=difficulty.shape) < 0.2).astype(float)
    b = (0.8 * difficulty + 0.6 * rng.normal(size=difficulty.shape) < 0.0).astype(float)
    truth = stats.norm.cdf(0.2) - 0.5
    low, high = interval(Resampler(4_000).sums(a - b, stream=1) / items)
    assert 0.935 <= np.mean((low <= truth) & (high >= truth)) <= 0.965


def test_cluster_bootstrap_covers_where_the_item_bootstrap_does_not() -> None:
    rng = np.random.default_rng(10)
    trials, clusters, size = 2_000, 60, 5
    latent = 0.9 * rng.normal(size=(trials, clusters, 1)) + 0.44 * rng.normal(size=(trials, clusters, size))
    right = (latent < 0).astype(float)

    def coverage(units: np.ndarray) -> float:
        low, high = interval(Resampler(2_000).sums(units, stream=1) / (clusters * size))
        return float(np.mean((low <= 0.5) & (high >= 0.5)))

    assert 0.925 <= coverage(right.sum(2)) <= 0.965
    assert coverage(right.reshape(trials, -1)) < 0.80


def test_an_expanded_interval_of_a_normal_mean_is_students_t_interval() -> None:
    values = np.random.default_rng(12).normal(size=(1, 9))
    error = values.std() / np.sqrt(9)  # the bootstrap's own, with n and not n − 1
    draws = values.mean() + error * stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)[None, :]
    low, high = interval(draws, units=9)
    theirs = stats.ttest_1samp(values[0], 0).confidence_interval()
    assert (low[0], high[0]) == (pytest.approx(theirs.low, rel=1e-3), pytest.approx(theirs.high, rel=1e-3))
