"""Choosing λ: normalised scores, stability and the best point, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.selection import best, is_stable, normalised


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
