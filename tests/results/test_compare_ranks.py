"""Ranks: by hand, against SciPy and against the tables of Demšar (JMLR 7, 2006)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from synthetic_sweep import Truth, make_sweep

from results.analysis.analysis import analyse
from results.statistics.ranks import Cell, Ranking, critical_difference, friedman, groups, ranked, ranking
from results.study.sweep import Sweep

# Table 6 of Demšar (2006): ranks of four variants of C4.5 on 14 data sets.
DEMSAR = np.array(
    [
        [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
        [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
        [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
        [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
    ]
)


def test_the_highest_score_has_rank_one_and_equal_scores_share_the_mean_of_their_places() -> None:
    assert ranked(np.array([[0.3], [0.9], [0.3], [0.1]]))[:, 0].tolist() == [2.5, 1, 2.5, 4]


def test_an_unstable_method_has_the_worst_place_and_two_of_them_share_it() -> None:
    scores = np.array([[0.3, np.nan], [np.nan, np.nan], [0.1, 0.2]])
    assert ranked(scores).T.tolist() == [[1, 3, 2], [2.5, 2.5, 1]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=8))
def test_ranks_agree_with_scipy(rows: list[list[int]]) -> None:
    scores_KN = np.array(rows, dtype=float).T
    expected = stats.rankdata(-scores_KN, axis=0)
    assert np.array_equal(ranked(scores_KN), expected)
    assert ranked(scores_KN).sum() == pytest.approx(scores_KN.shape[1] * 10)


def test_friedman_agrees_with_scipy_with_and_without_ties() -> None:
    rng = np.random.default_rng(3)
    for scores in (rng.normal(size=(5, 12)), rng.integers(0, 3, size=(4, 15)).astype(float)):
        expected = stats.friedmanchisquare(*-scores)
        found = friedman(ranked(scores))
        assert found.chi2 == pytest.approx(expected.statistic)
        assert found.chi2_p == pytest.approx(expected.pvalue)


def test_the_worked_example_of_demsar_is_reproduced() -> None:
    mean = DEMSAR.mean(1)
    assert mean == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    # He does not correct for ties: with full variance within cells his χ² and F come out.
    k, n = DEMSAR.shape
    full, own = n * k * (k * k - 1) / 12, ((DEMSAR - 2.5) ** 2).sum()
    chi2 = friedman(DEMSAR).chi2 * own / full
    assert chi2 == pytest.approx(9.28, abs=5e-3)
    assert (n - 1) * chi2 / (n * (k - 1) - chi2) == pytest.approx(3.69, abs=5e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=5e-3)


def test_iman_and_davenport_give_the_f_of_a_two_way_analysis_of_ranks() -> None:
    ranks = ranked(np.random.default_rng(5).normal(size=(4, 9)))
    k, n = ranks.shape
    methods = n * ((ranks.mean(1) - ranks.mean()) ** 2).sum() / (k - 1)
    rest = ((ranks - ranks.mean(1, keepdims=True)) ** 2).sum() / ((k - 1) * (n - 1))
    assert friedman(ranks).f == pytest.approx(methods / rest)
    assert friedman(ranks).p == pytest.approx(stats.f.sf(methods / rest, k - 1, (k - 1) * (n - 1)))


def test_the_critical_values_are_those_of_demsars_table_five() -> None:
    known = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    found = [critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) for k in range(2, 11)]
    assert found == pytest.approx(known, abs=1.1e-3)


def test_cells_that_all_agree_are_infinitely_clear_and_cells_that_all_tie_say_nothing() -> None:
    assert friedman(np.tile([[1.0], [2.0], [3.0]], 6)).f == math.inf
    assert friedman(np.tile([[1.0], [2.0], [3.0]], 6)).p == 0
    assert math.isnan(friedman(np.full((3, 4), 2.0)).p)
    with pytest.raises(ValueError, match="two methods and two cells"):
        friedman(np.ones((1, 5)))


def test_groups_are_the_longest_runs_closer_than_the_critical_difference() -> None:
    assert groups(np.sort(DEMSAR.mean(1)), 1.05) == ((0, 2), (2, 3))
    assert groups(np.sort(DEMSAR.mean(1)), 1.25) == ((0, 3),)
    assert groups(np.array([1.0, 2.0, 3.0]), 1.0) == ()  # exactly the critical difference is told apart


def test_a_method_that_is_better_everywhere_has_mean_rank_one_with_no_width() -> None:
    methods = {"ta": Truth(9, 1, 0.4), "ties": Truth(3, 1, 0.2), "lata_log": Truth(20, 1, 0.9)}
    sweep = make_sweep(methods, (1.0,), merges=("math+code", "ua+math"), items=120)
    cells = [(merge, task) for merge in ("math+code", "ua+math") for task in ("wikitext", "gsm8k")]
    found = ranked_at_choice(sweep, list(methods), cells)
    assert found is not None
    assert found.labels == ("lata_log", "ta", "ties")
    assert found.mean_K.tolist() == [1, 2, 3]
    assert found.low_K[0] == found.high_K[0] == 1
    assert (found.low_K <= found.mean_K).all()
    assert (found.mean_K <= found.high_K).all()


def test_ranks_average_seeds_within_a_cell_before_they_rank() -> None:
    methods = {"ta": Truth(9, 1, 0.5), "ties": Truth(9, 1, 0.5), "dare": Truth(9, 1, 0.5)}
    sweep = make_sweep(methods, (1.0,), seeds=(0, 1, 2), items=80)
    scores = sweep.scores[(sweep.scores["task"] == "gsm8k") & (sweep.scores["split"] == "test")]
    means = scores[scores["kind"] == "learn"].groupby("label")["value"].mean().sort_values(ascending=False)
    assert means.nunique() == 3
    found = ranked_at_choice(sweep, list(methods), [("math+code", "gsm8k")])
    assert found is not None
    assert list(found.labels) == list(means.index)
    assert found.ranks_KN[:, 0].tolist() == [1, 2, 3]
    assert found.friedman is None  # one cell
    assert found.groups == ()


def ranked_at_choice(sweep: Sweep, labels: list[str], cells: list[Cell]) -> Ranking | None:
    study = analyse(sweep.at())
    return ranking(study.lineup, study.measures, labels, cells)


def test_one_method_or_no_cell_gives_no_ranking() -> None:
    analysis = analyse(make_sweep({"ta": Truth(9, 1)}, (1.0,), items=40).at())
    assert ranking(analysis.lineup, analysis.measures, ["ta"], [("math+code", "gsm8k")]) is None
    assert ranking(analysis.lineup, analysis.measures, ["ta", "ties"], []) is None
