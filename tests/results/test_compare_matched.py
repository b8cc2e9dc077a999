"""Comparison at equal distance: interpolation against NumPy, and methods that only move at another speed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_sweep import Truth, curves_of, make_sweep

from results.analysis.matched import ALL, MEAN, RANGE, Match, matches, weights_at, weights_over
from results.study.sweep import Sweep

knots = st.lists(st.floats(0.1, 5), min_size=1, max_size=6).map(lambda steps: np.cumsum([0.0, *steps]))


@settings(max_examples=80, deadline=None)
@given(knots, st.floats(0, 1), st.integers(0, 99))
def test_weights_at_a_place_interpolate_on_a_line(knots_P: np.ndarray, share: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=len(knots_P))
    at = share * knots_P[-1]
    assert weights_at(knots_P, at) @ values == pytest.approx(np.interp(at, knots_P, values))


@settings(max_examples=80, deadline=None)
@given(knots, st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_weights_over_a_range_are_the_mean_of_the_line(knots_P: np.ndarray, a: float, b: float, seed: int) -> None:
    low, high = sorted((a * knots_P[-1], b * knots_P[-1]))
    values = np.random.default_rng(seed).normal(size=len(knots_P))
    weights = weights_over(knots_P, low, high)
    fine = np.linspace(low, high, 20_001)
    assert weights.sum() == pytest.approx(1)
    assert weights @ values == pytest.approx(np.interp(fine, knots_P, values).mean(), abs=2e-3)


def test_weights_by_hand() -> None:
    knots_P = np.array([0.0, 2.0, 4.0])
    assert weights_at(knots_P, 3.0).tolist() == [0, 0.5, 0.5]
    assert weights_over(knots_P, 0.0, 4.0).tolist() == [0.25, 0.5, 0.25]
    assert weights_over(knots_P, 2.0, 2.0).tolist() == [0, 1, 0]
    assert weights_over(knots_P, 0.0, 5e-324).tolist() == [1, 0, 0]


def half_speed(seeds: tuple[int, ...] = (0,), noise: float = 0.0) -> Sweep:
    """`ties` is `ta` at half of its λ: it moves half as far, and scores what `ta` scores there."""
    ta, ties = Truth(4.0, 1.0, 0.8, 0.8), Truth(8.0, 2.0, 0.8, 1.6)
    sweep = make_sweep({"ta": ta, "ties": ties}, (0.4, 0.8, 1.6), seeds, items=100, noise=noise)
    sweep.scores.loc[sweep.scores["label"] == "ties", "distance"] /= 2
    return sweep


def found(sweep: Sweep, **wanted: str) -> list[Match]:
    return [
        m for m in matches(curves_of(sweep), "ta") if all(getattr(m, name) == value for name, value in wanted.items())
    ]


def test_a_method_that_only_moves_less_far_shows_no_difference_at_equal_distance() -> None:
    there = found(half_speed(), at="0.8", label="ties")
    assert {m.task for m in there} == {"wikitext", "gsm8k", "humaneval", MEAN}
    for match in there:
        assert match.distance == pytest.approx(5 * 0.8 / 2)
        assert match.gap.value == pytest.approx(0, abs=1e-9)
        assert not match.gap.clear


def test_a_real_gain_shows_at_equal_distance_and_over_the_range() -> None:
    methods = {"ta": Truth(4.0, 1.0, 0.4), "lata_log": Truth(4.0, 1.0, 0.9)}
    sweep = make_sweep(methods, (0.4, 0.8, 1.2), (0, 1, 2, 3), merges=("math+code", "ua+math"), items=120)
    over = found(sweep, task=MEAN, at=RANGE)
    assert {m.merge for m in over} == {"math+code", "ua+math", ALL}
    assert all(m.gap.clear and m.gap.low > 0 and m.gap.same_sign == 4 for m in over)
    same = found(sweep, task="wikitext", at=RANGE, merge=ALL)
    assert abs(same[0].gap.value) < 0.05


def test_perplexity_is_interpolated_by_its_logarithm() -> None:
    sweep = make_sweep({"ta": Truth(2.0, 1.0), "ties": Truth(2.0, 1.0)}, (0.5, 1.0, 1.2), items=60, noise=0)
    sweep.scores.loc[(sweep.scores["label"] == "ties") & (sweep.scores["point"] == "0.5"), "distance"] *= 1.5
    match = found(sweep, task="wikitext", at="0.5")[0]
    a, b = math.log(Truth(2.0, 1.0).perplexity(0.5)), math.log(Truth(2.0, 1.0).perplexity(1.0))
    assert match.value == pytest.approx(math.exp(a))
    assert match.baseline == pytest.approx(math.exp((a + b) / 2))


def test_only_distances_that_both_reach_are_compared_and_a_curve_ends_where_it_breaks() -> None:
    methods = {"ta": Truth(0.9, 0.5), "lata_log": Truth(9.0, 0.5)}
    there = found(make_sweep(methods, (0.2, 0.4, 0.8, 1.2), items=60), task=MEAN)
    assert [m.at for m in there] == ["0.2", "0.4", "0.8", RANGE]
    far = make_sweep(methods, (0.2, 0.4, 0.8, 1.2), items=60).scores
    reach = far[(far["label"] == "ta") & (far["point"] == "0.8")]["distance"].iloc[0]
    assert there[-1].distance == pytest.approx(reach)


def test_two_points_are_no_curve_to_compare_along() -> None:
    # A line from pre to one far point would cut under a curve that rises and falls between them.
    methods = {"ta": Truth(9.0, 0.5), "ties": Truth(9.0, 0.5)}
    assert found(make_sweep(methods, (0.5, 1.0), items=40)) == []
    assert found(make_sweep(methods, (0.5, 0.7, 1.0), items=40)) != []


def test_points_with_one_lambda_a_task_have_no_place_on_a_curve() -> None:
    sweep = make_sweep({"ta": Truth(9, 1), "ties": Truth(9, 1)}, (0.4, 0.8), items=40, per_task=True)
    assert found(sweep) == []
