"""Where methods break: crossings by hand, and sweeps whose break is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_sweep import Truth, make_sweep

from results.analysis.analysis import SweepAnalysis, analyse_sweep
from results.analysis.crossings import Break, Crossing, difference, first_crossing, mean_crossing
from results.answers.sweep import sweep_findings
from results.tables.sweep import breaks_table, crossing_cell, difference_cell
from results.tables.table import Cell

X = np.array([0.0, 1.0, 2.0, 4.0])


def crossing(*values: float, limit: float = 1.0, after: int | None = None) -> tuple[float, float]:
    place = None if after is None else np.array([after])
    found = first_crossing(X, np.array(values)[:, None], limit, place)
    return float(found[0][0]), float(found[1][0])


def test_crossings_by_hand() -> None:
    assert crossing(0, 0.5, 1.5, 9) == (1.5, 1.5)  # half way between 1 and 2
    assert crossing(0, 0.5, 0.5, 2.5) == (2.5, 2.5)  # a quarter of the way from 2 to 4
    assert crossing(0, 3, 0, 3) == (1 / 3, 1 / 3)  # the first of two
    assert crossing(0, 0.5, 1, 1) == (math.inf, math.inf)  # reached, not passed
    assert crossing(2, 0, 0, 0) == (0, 0)  # beyond from the start


def test_a_crossing_is_not_interpolated_to_what_is_not_finite() -> None:
    assert crossing(0, 0.5, math.inf, 9) == (2.0, 1.0)
    assert crossing(0, 0.5, math.nan, 9) == (2.0, 1.0)
    assert crossing(math.inf, 0, 0, 0) == (0.0, 0.0)


def test_only_points_after_the_given_place_count() -> None:
    assert crossing(2, 0, 0, 2, after=0) == (3.0, 3.0)
    assert crossing(0, 2, 2, 2, after=3) == (math.inf, math.inf)


@given(st.floats(0.05, 3.95), st.floats(0.1, 5))
def test_a_straight_line_is_crossed_where_it_reaches_the_limit(at: float, slope: float) -> None:
    found, back = crossing(*(slope * X), limit=slope * at)
    assert found == pytest.approx(at)
    assert back == found


EXACT = {
    "ta": Truth(1.13, 0.5, 0.8, 0.5),
    "ties": Truth(0.71, 0.5, 0.8, 9.0),
    "dare": Truth(1.0, 0.5, 0.8, 0.4, infinite=True),
    "lata_log": Truth(9.0, 1.0, 0.8, 0.6),
}
FINE = tuple(round(0.1 * step, 2) for step in range(1, 21))


@pytest.fixture(scope="module")
def exact() -> SweepAnalysis:
    return analyse_sweep(make_sweep(EXACT, FINE, items=60, noise=0.0))


@pytest.fixture(scope="module")
def noisy() -> SweepAnalysis:
    """Three seeds whose breaks lie at 1.1, 1.2 and 1.3."""
    truth = {"ta": Truth(1.1, 0.6, 0.8), "lata_log": Truth(1.85, 0.8, 0.8)}
    return analyse_sweep(make_sweep(truth, seeds=(0, 1, 2), shift=0.1, items=60))


def of(found: SweepAnalysis, label: str) -> Break:
    return found.breaks["math+code", label]


def test_the_known_limit_is_found_between_the_points(exact: SweepAnalysis) -> None:
    for label, truth in (("ta", 1.13), ("ties", 0.71)):
        limit = of(exact, label).limit
        assert limit is not None
        assert limit.value == pytest.approx(truth, abs=5e-3)
        # documents that all say the same leave no room for error
        assert (limit.low, limit.high) == (pytest.approx(limit.value), pytest.approx(limit.value))
        assert of(exact, label).first == {0: math.ceil(truth * 10) / 10}


def test_the_known_best_and_half_of_it_are_found(exact: SweepAnalysis) -> None:
    one = of(exact, "lata_log")
    assert one.peak is not None
    assert one.peak.lam == pytest.approx(1.0, abs=0.1)  # items are few, so neighbours are equal
    assert one.half is not None
    assert one.half.value == pytest.approx(1.0 + 0.6 * math.sqrt(math.log(2)), abs=0.02)


def test_a_method_that_stays_under_the_limit_is_said_to_be_stable_to_the_end(exact: SweepAnalysis) -> None:
    limit = of(exact, "lata_log").limit
    assert limit is not None
    assert limit.never
    assert of(exact, "lata_log").first == {}
    assert crossing_cell(limit).plain == "stable to 2"


def test_a_merge_that_is_not_finite_breaks_at_that_point_and_perhaps_before(exact: SweepAnalysis) -> None:
    limit = of(exact, "dare").limit
    assert limit is not None
    assert (limit.value, limit.low, limit.high) == (1.0, 0.9, 1.0)
    assert of(exact, "dare").first == {0: 1.0}


def test_the_score_of_a_flat_curve_never_falls_to_half(exact: SweepAnalysis) -> None:
    half = of(exact, "ties").half
    assert half is not None
    assert half.never
    assert crossing_cell(half, "not by").text == "not by 2"


def test_seeds_that_break_apart_widen_the_interval_around_their_mean(noisy: SweepAnalysis) -> None:
    limit = of(noisy, "ta").limit
    assert limit is not None
    assert limit.seeds_S == pytest.approx([1.1, 1.2, 1.3], abs=0.02)
    assert limit.value == pytest.approx(1.2, abs=0.02)
    assert limit.low < 1.14
    assert limit.high > 1.26
    assert of(noisy, "ta").first == {0: 1.2, 1: 1.4, 2: 1.4} or of(noisy, "ta").first[0] == 1.2


def test_a_seed_that_does_not_break_makes_the_mean_a_lower_bound(noisy: SweepAnalysis) -> None:
    limit = of(noisy, "lata_log").limit  # 1.85, 1.95, and 2.05 beyond the end of the sweep
    assert limit is not None
    assert limit.bound
    assert not limit.never
    assert limit.value == pytest.approx((1.85 + 1.95 + 2.0) / 3, abs=0.02)
    cell = crossing_cell(limit)
    assert cell.text.startswith("≥ 1.9")
    assert cell.aside.endswith("> 2.00]")


def test_the_difference_of_two_breaks_is_paired(noisy: SweepAnalysis) -> None:
    a, b = of(noisy, "ta").limit, of(noisy, "lata_log").limit
    assert a is not None
    assert b is not None
    own, none = difference(a, b), difference(a, a)
    assert own.value == pytest.approx(a.value - b.value)
    assert own.low <= own.value <= own.high
    assert own.high - own.low < (a.high - a.low) + (b.high - b.low)
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


def at(*seeds: float, top: float = 2.0) -> Crossing:
    """A crossing whose replicates are all as observed."""
    found = [[(np.full(size, lam), np.full(size, lam)) for size in (1, 20)] for lam in seeds]
    return mean_crossing(found, top, None)


def test_the_difference_of_two_lower_bounds_is_not_printed() -> None:
    never = math.inf
    assert difference_cell(at(1.0, 1.0), at(1.5, 1.5)).text == "−0.50"
    assert difference_cell(at(1.0, never), at(1.0, 1.0)).text == "≥ +0.50"
    assert difference_cell(at(1.0, 1.0), at(1.0, never)).text == "≤ −0.50"
    for a, b in (((1.0, never), (1.5, never)), ((never, never), (1.0, never)), ((never, never), (never, never))):
        assert difference_cell(at(*a), at(*b)) == Cell("–")
    # What lies beyond the end of the shorter sweep is a bound there.
    assert difference_cell(at(never, top=1.0), at(1.5)) == Cell("–")
    assert difference_cell(at(0.5, top=1.0), at(1.5)).text == "≤ −0.50"


def test_of_two_methods_of_which_a_seed_each_does_not_break_none_is_said_to_break_before_the_other() -> None:
    truth = {"ties": Truth(1.65, 0.6), "lata_log": Truth(1.75, 0.6)}
    lambdas = (0.6, 1.2, 1.8, 2.0)
    both = analyse_sweep(make_sweep(truth, lambdas, seeds=(0, 1), items=20, noise=0, shift=0.4))
    assert all(one.limit is not None and one.limit.bound and not one.limit.never for one in both.breaks.values())
    assert " before lata_log" not in sweep_findings(both).answers[0].text
    one = analyse_sweep(make_sweep(truth, lambdas, seeds=(0, 1), items=20, noise=0, shift=0.3))
    assert "; ties breaks at least 0." in sweep_findings(one).answers[0].text


def test_the_table_answers_where_ties_breaks_against_lata(exact: SweepAnalysis) -> None:
    table = breaks_table(exact)
    heads = [column.title for column in table.columns]
    ties = next(row for row in table.rows if row.label == "ties")
    assert ties.cells[heads.index("− lata_log")].plain == "≤ −1.29 [−1.29, −1.29]"
    assert ties.cells[2].plain == "0.71 [0.71, 0.71]"
    assert ties.cells[-1].plain == "0.8"


def test_the_limit_of_half_the_documents_lies_within_the_interval_of_all() -> None:
    found = analyse_sweep(make_sweep({"ta": Truth(1.1, 0.6)}, items=80))
    limit = found.breaks["math+code", "ta"].limit
    assert limit is not None
    assert limit.low < 1.1 < limit.high
    assert 0 < limit.high - limit.low < 0.2
