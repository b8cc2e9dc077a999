"""The bootstrap against naive resampling, closed forms and its own coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.bootstrap import (
    Replicates,
    Resampler,
    counts,
    equivalence_p,
    interval,
    seed_weights,
    two_sided_p,
)


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


def test_p_is_below_five_percent_exactly_where_the_interval_excludes_zero() -> None:
    base = np.random.default_rng(4).normal(size=(1, 60))
    draws = Resampler().sums(base, stream=3) / 60
    spread = draws.std()
    moved = draws - draws.mean() + np.array([[1.7], [1.9], [2.05], [2.3]]) * spread
    low, _ = interval(moved)
    assert ((two_sided_p(moved) < 0.05) == (low > 0)).all()


def test_p_of_two_equal_models_is_one_and_never_zero_for_others() -> None:
    assert two_sided_p(np.zeros((1, 20_000)))[0] == 1.0
    assert two_sided_p(np.ones((1, 20_000)))[0] == pytest.approx(2 / 20_001)


def test_equivalence_holds_exactly_where_the_ninety_percent_interval_lies_inside_the_margin() -> None:
    draws = np.random.default_rng(5).normal(size=(1, 20_000)) * 0.01 + np.array([[0.0], [0.003], [0.004], [0.02]])
    low, high = interval(draws, level=0.90)
    inside = (low > -0.02) & (high < 0.02)
    assert inside.any()
    assert not inside.all()
    assert ((equivalence_p(draws, 0.02) < 0.05) == inside).all()


def test_one_seed_gives_the_plain_bootstrap() -> None:
    draws = np.random.default_rng(6).normal(size=(2, 1, 100))
    assert (Replicates(draws).mean([1], [0]) == draws[1, 0]).all()
    assert (seed_weights(1, 100) == 1).all()


def test_hierarchical_variance_is_between_plus_within() -> None:
    # seeds s with means m_s and independent item noise v: Var = (S−1)/S · S²_m / S + v (1/S + (1−1/S)/S) by counts
    rng = np.random.default_rng(7)
    means = np.array([0.0, 1.0, 3.0])
    noise = 0.2 * rng.normal(size=(1, 3, 20_000))
    found = Replicates(means[None, :, None] + noise).mean([0], [0, 1, 2])[0]
    share = seed_weights(3)
    expected = (share * means[:, None]).sum(0).var() + 0.04 * (share**2).sum(0).mean()
    assert found.var() == pytest.approx(expected, rel=0.03)


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


@pytest.mark.parametrize(("seeds", "least", "most"), [(3, 0.60, 0.85), (20, 0.90, 0.96)])
def test_hierarchical_interval_is_too_narrow_for_three_seeds_and_sound_for_many(
    seeds: int, least: float, most: float
) -> None:
    rng = np.random.default_rng(11)
    trials, replicates = 2_000, 2_000
    truth_s = rng.normal(size=(trials, seeds))
    draws = truth_s[:, :, None] + 0.2 * rng.normal(size=(trials, seeds, 1))
    share = seed_weights(seeds, replicates)
    low, high = interval(draws[:, :, 0] @ share)
    assert least <= np.mean((low <= 0) & (high >= 0)) <= most


def test_an_expanded_interval_of_a_normal_mean_is_students_t_interval() -> None:
    values = np.random.default_rng(12).normal(size=(1, 9))
    error = values.std() / np.sqrt(9)  # the bootstrap's own, with n and not n − 1
    draws = values.mean() + error * stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)[None, :]
    low, high = interval(draws, units=9)
    theirs = stats.ttest_1samp(values[0], 0).confidence_interval()
    assert (low[0], high[0]) == (pytest.approx(theirs.low, rel=1e-3), pytest.approx(theirs.high, rel=1e-3))
    shifted = draws - low[0]  # the interval now begins at 0, where p is 0.05
    assert two_sided_p(shifted, units=9)[0] == pytest.approx(0.05, abs=1e-4)
    assert two_sided_p(draws, units=9)[0] == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue, rel=1e-2)


def test_expanded_p_values_agree_with_expanded_intervals() -> None:
    draws = np.random.default_rng(13).normal(size=(1, 20_000)) + np.linspace(0, 4, 41)[:, None]
    low, _ = interval(draws, units=15)
    assert ((two_sided_p(draws, units=15) < 0.05) == (low > 0)).all()
    low, high = interval(draws, level=0.90, units=15)
    inside = (low > -4) & (high < 4)
    assert inside.any()
    assert ((equivalence_p(draws, 4.0, units=15) < 0.05) == inside).all()
    assert two_sided_p(np.zeros((1, 100)), units=15)[0] == 1.0


def test_equivalence_equals_schuirmanns_two_t_tests_for_a_normal_mean() -> None:
    values = np.random.default_rng(14).normal(0.1, 1, size=25)
    draws = values.mean() + values.std() / 5 * stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)[None, :]
    upper = stats.ttest_1samp(values, 0.6, alternative="less").pvalue
    lower = stats.ttest_1samp(values, -0.6, alternative="greater").pvalue
    assert equivalence_p(draws, 0.6, units=25)[0] == pytest.approx(max(upper, lower), rel=1e-2)
