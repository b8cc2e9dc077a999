"""Pareto fronts and hypervolumes: by hand, against a grid of the box, and on sweeps of known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_sweep import Truth, curves_of, make_sweep

from results.analysis.pareto import ALL, front, hypervolume, on_front, volumes

LAMBDAS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.4, 2.0)


def volume(points: list[tuple[float, float]], pre: float = 2.0) -> float:
    array = np.array(points, dtype=float).reshape(-1, 2)
    return float(hypervolume(array[:, :1], array[:, 1:], pre)[0])


def test_a_point_is_on_the_front_unless_another_is_as_good_in_both_and_better_in_one() -> None:
    ppl = np.array([2.0, 2.5, 2.5, 3.0, np.nan, 2.0])
    score = np.array([0.2, 0.6, 0.5, 0.6, 0.9, 0.2])
    assert on_front(ppl, score).tolist() == [True, True, False, False, False, True]


def test_a_hypervolume_is_the_area_of_the_union_of_rectangles() -> None:
    root = 2 * math.sqrt(10)  # half-way on the log scale from pre to ten times pre
    assert volume([(2.0, 0.5)]) == pytest.approx(0.5)
    assert volume([(root, 0.5)]) == pytest.approx(0.25)
    assert volume([(2.0, 0.5), (root, 1.0)]) == pytest.approx(0.75)
    assert volume([(2.0, 0.5), (root, 1.0), (root, 0.4), (4.0, 0.5)]) == pytest.approx(0.75)  # dominated: no change


def test_the_ends_of_the_box_are_kept() -> None:
    assert volume([]) == 0
    assert volume([(20.0, 1.0)]) == 0  # ten times pre
    assert volume([(300.0, 1.0)]) == 0
    assert volume([(1.0, 1.0)]) == 1  # below pre earns no more than pre
    assert volume([(2.0, 0.0)]) == 0


points = st.lists(st.tuples(st.floats(1.5, 25), st.floats(0, 1)), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(points)
def test_a_hypervolume_agrees_with_counting_cells_of_the_box(some: list[tuple[float, float]]) -> None:
    fine = (np.arange(400) + 0.5) / 400
    covered = np.zeros((400, 400), dtype=bool)
    for ppl, score in some:
        covered |= (fine[:, None] < 1 - math.log10(ppl / 2)) & (fine[None, :] < score)
    assert volume(some) == pytest.approx(covered.mean(), abs=2 * 7 / 400)


@settings(max_examples=60, deadline=None)
@given(points)
def test_only_the_front_counts_and_more_points_never_cover_less(some: list[tuple[float, float]]) -> None:
    ppl, score = np.array(some).T
    kept = [point for point, on in zip(some, on_front(ppl, score), strict=True) if on]
    assert volume(kept) == pytest.approx(volume(some))
    assert volume(some[:-1]) <= volume(some) + 1e-12


def test_a_front_starts_at_pre_and_leaves_unstable_points_out() -> None:
    sweep = make_sweep({"ta": Truth(1.1, 0.6, 0.7)}, LAMBDAS, items=200, noise=0)
    made = front(curves_of(sweep)["math+code", "ta"])
    assert made.points[0] == "0"
    assert made.ppl_P[0] == pytest.approx(2.0)
    assert made.front_P[0]  # nothing has a lower perplexity
    assert np.isnan(made.ppl_P[made.points.index("1.4")])
    assert np.isnan(made.score_P[made.points.index("2")])
    kept = [point for point, on in zip(made.points, made.front_P, strict=True) if on]
    assert kept == ["0", "0.2", "0.4", "0.6"]  # scores fall again after their peak at 0.6


def test_without_noise_the_value_is_that_of_the_points_and_two_equal_methods_do_not_differ() -> None:
    truth = Truth(3.0, 0.6, 0.7)
    curves = curves_of(make_sweep({"ta": truth, "ties": truth}, LAMBDAS, merges=("math+code", "ua+math"), noise=0))
    found = {(v.merge, v.label): v for v in volumes(curves, "ta")}
    made = front(curves["math+code", "ta"])
    keep = np.isfinite(made.ppl_P)
    value = hypervolume(made.ppl_P[keep, None], made.score_P[keep, None], 2.0)[0]
    assert found["math+code", "ta"].value == pytest.approx(value)
    assert found["math+code", "ties"].gap.value == 0
    assert not found["math+code", "ties"].gap.clear
    assert found["math+code", "ta"].gap is None
    assert found[ALL, "ties"].value == pytest.approx(
        (found["math+code", "ties"].value + found["ua+math", "ties"].value) / 2
    )


def test_a_method_that_covers_more_is_clear_of_noise_in_every_seed() -> None:
    methods = {"ta": Truth(2.0, 0.6, 0.4), "lata_log": Truth(9.0, 1.0, 0.9, 0.9)}
    found = {v.label: v for v in volumes(curves_of(make_sweep(methods, LAMBDAS, seeds=(0, 1, 2))), "ta")}
    assert found["lata_log"].gap.clear
    assert found["lata_log"].gap.same_sign == found["lata_log"].gap.seeds == 3
    assert found["lata_log"].gap.low > 0
    assert found["lata_log"].low < found["lata_log"].value < found["lata_log"].high


def test_a_point_that_is_unstable_on_the_development_split_alone_is_on_no_front() -> None:
    sweep = make_sweep({"ta": Truth(9.0, 0.6)}, (0.4, 0.6, 0.8), items=60, noise=0)
    broken = (sweep.scores["split"] == "dev") & (sweep.scores["point"] == "0.6")
    sweep.scores.loc[broken & (sweep.scores["task"] == "wikitext"), "value"] = 1e9
    made = front(curves_of(sweep)["math+code", "ta"])
    assert np.isnan(made.ppl_P[made.points.index("0.6")])
