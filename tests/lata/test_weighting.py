from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lata.engine import weighting as w

SIMILARITIES = arrays.arrays(np.float64, st.integers(1, 12), elements=st.floats(-1, 1, width=16))


def test_linear_and_log_by_hand() -> None:
    # Sorted, the highest first: layer 2, 0, 3, 1.
    s = np.array([0.9, 0.1, 0.95, 0.5])
    assert w.linear(s).tolist() == pytest.approx([1 / 3, 1, 0, 2 / 3])
    log4 = math.log(4)
    assert w.logarithmic(s).tolist() == pytest.approx([math.log(2) / log4, 1, 0, math.log(3) / log4])


def test_equal_similarities_share_the_mean_rank() -> None:
    assert w.ranks(np.array([0.5, 0.9, 0.5, 0.1])).tolist() == [1.5, 0, 1.5, 3]
    assert w.linear(np.full(5, 0.7)).tolist() == [0.5] * 5


def test_both_schedules_agree_on_two_layers_and_are_one_on_one_layer() -> None:
    s = np.array([0.2, 0.8])
    assert w.linear(s).tolist() == w.logarithmic(s).tolist() == [1, 0]
    assert w.linear(np.array([0.3])).tolist() == w.logarithmic(np.array([0.3])).tolist() == [1]


def test_a_fixed_threshold_keeps_what_is_strictly_below() -> None:
    assert w.below(0.95)(np.array([0.95, 0.94999, 1.0])).tolist() == [0, 1, 0]


def test_a_quantile_keeps_that_share_of_the_least_similar_layers() -> None:
    s = np.array([0.99, 0.95, 0.98, 0.96, 0.97, 0.94])
    assert w.below_quantile(0.5)(s).tolist() == [0, 1, 0, 1, 0, 1]
    assert w.below_quantile(0.0)(s).sum() == 0
    assert w.below_quantile(0.01)(s).tolist() == [0, 0, 0, 0, 0, 1]
    assert w.below_quantile(1.0)(s).tolist() == [1] * 6
    hundred = np.arange(100) / 100
    assert w.below_quantile(0.29)(hundred).sum() == 29


def test_floor_and_ceiling_stretch_the_shape() -> None:
    s = np.array([0.9, 0.5, 0.1])
    assert w.weights(s, w.linear, floor=0.2, ceiling=0.8).tolist() == pytest.approx([0.2, 0.5, 0.8])


def test_a_layer_without_a_cosine_stays_out_of_the_ranks_and_takes_the_ceiling() -> None:
    s = np.array([0.9, np.nan, 0.5, 0.1])
    assert w.weights(s, w.linear, ceiling=0.6).tolist() == pytest.approx([0, 0.6, 0.3, 0.6])
    assert w.weights(s, w.below(0.2)).tolist() == [0, 1, 0, 1]
    assert w.weights(np.full(2, np.nan), w.linear).tolist() == [1, 1]


@given(SIMILARITIES)
def test_rank_schedules_never_rise_with_similarity_and_stay_in_range(s: np.ndarray) -> None:
    for schedule in w.RANK_SCHEDULES.values():
        weights_L = schedule(s)
        assert ((weights_L >= 0) & (weights_L <= 1)).all()
        order = np.argsort(s)
        assert (np.diff(weights_L[order]) <= 1e-12).all()


@given(SIMILARITIES, st.randoms())
def test_weights_belong_to_layers_not_to_their_order(s: np.ndarray, random: object) -> None:
    order = np.arange(s.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    for schedule in (*w.RANK_SCHEDULES.values(), w.below(0.5), w.below_quantile(0.5)):
        np.testing.assert_array_equal(schedule(s)[order], schedule(s[order]))


@given(SIMILARITIES, st.integers(0, 5))
def test_shuffling_rearranges_the_same_weights(s: np.ndarray, seed: int) -> None:
    weights_L = w.weights(s, w.linear)
    assert sorted(w.shuffled(weights_L, s, seed, "math")) == sorted(weights_L)


def test_shuffled_depends_on_seed_and_task_and_is_never_the_identity() -> None:
    s = np.linspace(0.9, 0.1, 6)
    weights_L = w.weights(s, w.linear)
    made = {(seed, task): tuple(w.shuffled(weights_L, s, seed, task)) for seed in range(20) for task in ("a", "b")}
    assert len(set(made.values())) > 20
    assert tuple(weights_L) not in made.values()
    two = np.array([0.9, 0.1])
    assert all(w.shuffled(w.linear(two), two, seed, "a").tolist() == [1, 0] for seed in range(5))
    assert w.shuffled(np.ones(1), np.array([0.3]), 0, "a").tolist() == [1]


def test_the_permutation_of_a_seed_never_changes() -> None:
    s = np.linspace(0.9, 0.1, 6)
    assert w.shuffled(np.arange(6.0), s, 0, "math").tolist() == GOLDEN_PERMUTATION


GOLDEN_PERMUTATION: list[float] = [0.0, 3.0, 2.0, 1.0, 4.0, 5.0]


@given(arrays.arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1, width=16)), st.integers(1, 12))
def test_weights_are_carried_over_by_relative_depth(weights_L: np.ndarray, count: int) -> None:
    found = w.at_depths(weights_L, count)
    np.testing.assert_allclose(found, naive.interpolated(weights_L.tolist(), count), rtol=0, atol=1e-12)
    assert found[-1] == weights_L[-1]
    np.testing.assert_array_equal(w.at_depths(weights_L, weights_L.size), weights_L)


def test_depth_runs_from_floor_to_ceiling() -> None:
    assert w.linear_in_depth(3, 0.2, 1.0).tolist() == pytest.approx([0.2, 0.6, 1.0])
    assert w.linear_in_depth(1).tolist() == [1]
