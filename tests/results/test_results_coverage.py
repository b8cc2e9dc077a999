"""Intervals cover the truth as often as they say: simulated studies, each with the sizes that it holds for.

The bounds leave two standard errors of the simulation on either side. All studies of one test share their draws of
units, as models of one study do. A binomial rate has a lattice of possible intervals, so that its coverage jumps with
the truth: it is averaged over truths, as in Brown, Cai and DasGupta, "Interval estimation for a binomial proportion",
Statistical Science 16 (2001).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.statistics.bootstrap import Resampler, interval
from results.statistics.closed_form import cluster_variance, effective_n, wilson
from results.statistics.inference import Inference, over_items, over_trainings

TRIALS, REPLICATES = 10_000, 2_000
#: Two standard errors of a share of 0.95 among `TRIALS`. Random numbers are seeded: a test always ends the same.
SLACK = 2 * np.sqrt(0.95 * 0.05 / TRIALS)


def covers(low: np.ndarray, high: np.ndarray, truth: float | np.ndarray) -> float:
    return float(np.mean((low <= truth) & (high >= truth)))


def assert_nominal(coverage: float) -> None:
    assert 0.94 - SLACK <= coverage <= 0.96 + SLACK, coverage


def correlated_answers(rng: np.random.Generator, items: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Right or wrong answers of two models that share the items' difficulty, and their true difference."""
    difficulty = rng.normal(size=(TRIALS, items))
    a, b = (0.8 * difficulty + 0.6 * rng.normal(size=difficulty.shape) for _ in range(2))
    return (a < 0.2).astype(float), (b < 0.0).astype(float), float(stats.norm.cdf(0.2) - 0.5)


@pytest.mark.parametrize("n", [20, 62, 164, 300, 1319])
def test_wilson_covers_a_rate_for_any_number_of_items(n: int) -> None:
    truths = np.linspace(0.05, 0.95, 181)
    right = np.arange(n + 1)
    low, high = wilson(right / n, n)
    exact = [stats.binom.pmf(right, n, p)[(low <= p) & (high >= p)].sum() for p in truths]
    assert 0.94 <= np.mean(exact) <= 0.96  # no simulation: summed over all outcomes


@pytest.mark.slow
@pytest.mark.parametrize("documents", [20, 62, 300])
def test_expanded_document_bootstrap_covers_a_perplexity(documents: int) -> None:
    rng = np.random.default_rng([1, documents])
    words = rng.integers(30, 120, size=(TRIALS, documents)).astype(float)
    nats = words * (0.8 + 0.1 * rng.normal(size=words.shape))
    resampler = Resampler(REPLICATES)
    draws = np.exp(resampler.sums(nats, 1) / resampler.sums(words, 1))
    assert_nominal(covers(*interval(draws, units=documents), np.exp(0.8)))


@pytest.mark.slow
def test_documents_of_very_unequal_length_and_skewed_loss_need_two_hundred() -> None:
    found = {}
    for documents in (62, 200):
        rng = np.random.default_rng([2, documents])
        words = np.exp(rng.normal(7, 0.6, size=(TRIALS, documents)))
        nats = words * (2.2 + 0.25 * (rng.gamma(2, 1, size=words.shape) - 2))
        resampler = Resampler(REPLICATES)
        ratio = resampler.sums(nats, 1) / resampler.sums(words, 1)
        found[documents] = covers(*interval(np.exp(ratio), units=documents), np.exp(2.2))
    assert_nominal(found[200])
    assert 0.92 <= found[62] <= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("items", [62, 164, 300])
def test_expanded_paired_bootstrap_covers_a_difference_of_rates(items: int) -> None:
    a, b, truth = correlated_answers(np.random.default_rng([3, items]), items)
    draws = Resampler(REPLICATES).sums(a - b, 1) / items
    assert_nominal(covers(*interval(draws, units=items), truth))


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [30, 60, 200])
def test_items_that_belong_together_are_covered_by_clusters_and_not_by_items(clusters: int) -> None:
    rng, size = np.random.default_rng([4, clusters]), 5
    shared = 0.9 * rng.normal(size=(TRIALS, clusters, 1))
    right = (shared + np.sqrt(0.19) * rng.normal(size=(TRIALS, clusters, size)) < 0.0).astype(float)
    sums_TG = right.sum(2)
    draws = Resampler(REPLICATES).sums(sums_TG, 1) / (clusters * size)
    assert_nominal(covers(*interval(draws, units=clusters), 0.5))
    rate = sums_TG.sum(1) / (clusters * size)
    variance = cluster_variance(sums_TG.T, np.full(clusters, float(size)))
    assert_nominal(covers(*wilson(rate, effective_n(rate, variance, clusters * size, clusters)), 0.5))
    assert covers(*wilson(rate, clusters * size), 0.5) < 0.80


@pytest.mark.slow
def test_plain_percentiles_need_a_hundred_units_where_expanded_ones_need_twenty() -> None:
    plain, expanded = {}, {}
    for units in (20, 100):
        values = np.random.default_rng([5, units]).normal(size=(TRIALS, units))
        draws = Resampler(REPLICATES).sums(values, 1) / units
        plain[units] = covers(*interval(draws), 0.0)
        expanded[units] = covers(*interval(draws, units=units), 0.0)
    assert plain[20] < 0.94
    assert_nominal(plain[100])
    assert_nominal(expanded[20])
    assert_nominal(expanded[100])


def trainings(seeds: int, spread: float, shared: float, trials: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Means of items of several trainings and their covariance over items.

    The items of one training have an error of 1, of which trainings have the share `shared` in common; trainings
    differ by `spread`.
    """
    rng = np.random.default_rng([6, seeds])
    own = np.sqrt(1 - shared) * rng.normal(size=(trials, seeds)) + spread * rng.normal(size=(trials, seeds))
    values = own + np.sqrt(shared) * rng.normal(size=(trials, 1))
    return values, np.broadcast_to(shared + (1 - shared) * np.eye(seeds), (trials, seeds, seeds))


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("seeds", [3, 4, 5, 7, 10])
def test_intervals_over_trainings_cover_for_few_seeds_of_any_spread(seeds: int, spread: float, shared: float) -> None:
    coverage = covers(*over_trainings(*trainings(seeds, spread, shared), units=300).interval(), 0.0)
    assert 0.94 <= coverage <= 0.97, coverage


def test_a_bootstrap_over_three_seeds_would_not() -> None:
    values, _ = trainings(3, 4.0, 0.5, 2_000)
    picks = np.random.default_rng(7).integers(0, 3, size=(2_000, 3))
    assert covers(*interval(values[:, picks].mean(2)), 0.0) < 0.80


@pytest.mark.parametrize("spread", [1.0, 4.0])
@pytest.mark.parametrize("seeds", [3, 10])
def test_the_minimum_detectable_effect_is_found_eighty_times_in_a_hundred(seeds: int, spread: float) -> None:
    values, cov = trainings(seeds, spread, 0.0)
    error = np.sqrt((1 + spread**2) / seeds)
    df = np.array(seeds - 1.0)
    effect = float(Inference(np.array(0.0), np.array(error), df).detectable())
    t = np.abs(values.mean(1) + effect) / (values.std(1, ddof=1) / np.sqrt(seeds))
    assert np.mean(t > stats.t.ppf(0.975, df)) == pytest.approx(0.80, abs=0.01)
    assert np.mean(over_trainings(values + effect, cov, 300).p < 0.05) == pytest.approx(0.80, abs=0.04)


def test_the_minimum_detectable_effect_over_items_is_that_of_a_t_test() -> None:
    rng = np.random.default_rng(8)
    items = rng.normal(size=(20_000, 62))
    effect = float(Inference(np.array(0.0), np.array(1 / np.sqrt(62)), np.array(61.0)).detectable())
    p = over_items(items.mean(1) + effect, items.var(1, ddof=1) / 62, 62).p
    assert np.mean(p < 0.05) == pytest.approx(0.80, abs=0.01)
