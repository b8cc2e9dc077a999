"""Choosing λ: normalised scores, stability and the best point, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.study.selection import best, best_forgetting, is_stable, normalised, utilities


def test_the_normalised_score_is_the_mean_share_of_the_experts_scores() -> None:
    assert normalised({"gsm8k": 0.4, "humaneval": 0.3}, {"gsm8k": 0.8, "humaneval": 0.6, "refusal": 1.0}) == 0.5
    assert normalised({"gsm8k": 0.8}, {"gsm8k": 0.4}) == 2.0


@given(st.dictionaries(st.sampled_from(["gsm8k", "humaneval", "refusal"]), st.floats(0.01, 1), min_size=1))
def test_the_experts_themselves_score_one(scores: dict[str, float]) -> None:
    assert normalised(scores, scores) == pytest.approx(1.0)


def test_a_score_that_cannot_be_normalised_is_refused_with_the_name_of_the_expert() -> None:
    with pytest.raises(ValueError, match=r"expert of humaneval \(0\) scores nothing"):
        normalised({"gsm8k": 0.4, "humaneval": 0.3}, {"gsm8k": 0.8, "humaneval": 0.0})
    with pytest.raises(ValueError, match="no score of the expert of humaneval"):
        normalised({"humaneval": 0.3}, {"gsm8k": 0.8})
    with pytest.raises(ValueError, match="needs a task"):
        normalised({}, {"gsm8k": 0.8})


def test_a_merge_is_stable_up_to_ten_times_the_perplexity_of_pre() -> None:
    assert is_stable(20.0, 2.0)
    assert not is_stable(20.001, 2.0)
    assert not is_stable(3.0, 2.0, finite=False)
    assert not is_stable(math.inf, 2.0)
    assert not is_stable(math.nan, 2.0)


def test_the_best_point_has_the_highest_objective_and_of_equals_the_smallest_norm() -> None:
    assert best([("0.2", 0.1), ("0.6", 0.4), ("1", 0.3)]) == "0.6"
    assert best([("1", 0.4), ("0.6", 0.4), ("0.8", 0.4)]) == "0.6"
    # ‖(0.4, 0.4)‖ = 0.57 lies below ‖(0.2, 0.6)‖ = 0.63
    assert best([("code=0.2,math=0.6", 0.4), ("code=0.4,math=0.4", 0.4)]) == "code=0.4,math=0.4"
    assert best([("0.2", math.nan), ("1", 0.1)]) == "1"


def test_without_a_stable_point_there_is_nothing_to_choose() -> None:
    with pytest.raises(ValueError, match="no stable point"):
        best([])
    with pytest.raises(ValueError, match="add smaller values of λ"):
        best([("0.2", math.nan)])


def test_a_forgetting_is_chosen_by_utility_among_the_points_whose_harm_is_low_enough() -> None:
    points = [("0.4", 0.5, 0.9), ("0.8", 0.1, 0.6), ("1.2", 0.05, 0.7), ("1.6", 0.0, 0.3)]
    assert best_forgetting(points, 0.1) == "1.2"
    assert best_forgetting(points, 0.05) == "1.2"
    assert best_forgetting(points, 0.01) == "1.6"
    assert best_forgetting(points, 1.0) == "0.4"


def test_where_harm_is_nowhere_low_enough_the_lowest_is_taken() -> None:
    assert best_forgetting([("0.4", 0.5, 0.9), ("0.8", 0.3, 0.1), ("1.2", 0.4, 0.8)], 0.1) == "0.8"


def test_of_equal_forgettings_the_smaller_lambda_is_taken() -> None:
    assert best_forgetting([("1", 0.1, 0.7), ("0.6", 0.05, 0.7), ("0.8", 0.0, 0.7)], 0.1) == "0.6"
    assert best_forgetting([("1", 0.3, 0.7), ("0.6", 0.3, 0.1)], 0.1) == "0.6"


def test_a_harm_that_is_no_number_is_never_chosen_and_a_utility_that_is_none_counts_least() -> None:
    assert best_forgetting([("0.2", math.nan, 0.9), ("1", 0.4, 0.1)], 0.1) == "1"
    assert best_forgetting([("0.2", 0.0, math.nan), ("1", 0.0, 0.1)], 0.1) == "1"
    assert best_forgetting([("1", 0.0, math.nan), ("0.2", 0.0, math.nan)], 0.1) == "0.2"
    for points in ([], [("0.2", math.nan, 0.9)]):
        with pytest.raises(ValueError, match="add smaller values of λ"):
            best_forgetting(points, 0.1)


@given(
    st.lists(st.tuples(st.floats(0.1, 4), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_no_other_forgetting_is_better_by_the_rule(rows: list[tuple[float, float, float]], threshold: float) -> None:
    points = [(f"{lam:g}", harm, useful) for lam, harm, useful in rows]
    chosen = best_forgetting(points, threshold)
    mine = [row for row in points if row[0] == chosen]
    passed = [row for row in points if row[1] <= threshold]
    if passed:
        assert any(row in passed and row[2] == max(other[2] for other in passed) for row in mine)
    else:
        assert any(row[1] == min(other[1] for other in points) for row in mine)


def test_utility_is_every_rate_and_share_but_the_harm_task_and_no_perplexity() -> None:
    assert utilities(["wikitext", "gsm8k", "xquad_de", "refusal"], "refusal") == ["gsm8k", "xquad_de"]
    assert utilities(["wikitext", "refusal"], "refusal") == []
