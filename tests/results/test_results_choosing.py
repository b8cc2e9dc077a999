"""Ways of choosing λ side by side: paired differences from a fixed λ, and what the table says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_sweep import Truth, make_sweep

from results.analysis.analysis import SweepAnalysis, analyse_sweep
from results.analysis.choice import common_seeds, in_order, mean_gap, reference_of
from results.analysis.comparison import compared
from results.answers.choosing import choosing_answers
from results.statistics.inference import Contrast
from results.study import store as stored
from results.study.sweep import TEST, Sweep
from results.study.union import pool
from results.tables.choosing import choosing_table

COLUMNS = ["seed", "kind", "merge", "label", "selection", "point"]
METHODS = {"ta": Truth(1.6, 0.4, 0.7), "lata_log": Truth(9.0, 1.0, 0.7, 0.9), "ta_half": Truth(9.0, 1.0, 0.5)}
LAMBDAS = (0.4, 0.8, 1.0, 1.2)


def with_ways(sweep: Sweep, **points: str) -> Sweep:
    """The sweep with other ways of choosing, each with one point for every method."""
    keys = sweep.scores[sweep.scores["kind"] == "learn"][COLUMNS[:4]].drop_duplicates()
    rows = [(*key, way, point) for way, point in points.items() for key in keys.itertuples(index=False)]
    return replace(sweep, others=pd.DataFrame(rows, columns=COLUMNS))


def chosen(sweep: Sweep, point: str) -> Sweep:
    return replace(sweep, choices=sweep.choices.assign(point=point))


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    drawn = make_sweep(METHODS, LAMBDAS, seeds=(0, 1), items=40)
    return with_ways(chosen(drawn, "0.4"), fixed="1", metagpt="0.8")


@pytest.fixture(scope="module")
def found(sweep: Sweep) -> SweepAnalysis:
    return analyse_sweep(sweep)


def by_hand(sweep: Sweep, label: str, point: str) -> float:
    """Mean over seeds and tasks of the test score divided by the expert's own."""
    scores = sweep.scores[(sweep.scores["split"] == TEST) & (sweep.scores["task"] != "wikitext")]
    expert = {"gsm8k": "math", "humaneval": "code"}
    own = {(row.seed, row.task): row.value for row in scores.itertuples() if row.label == expert[row.task]}
    rows = scores[(scores["label"] == label) & (scores["point"] == point)]
    return float(np.mean([row.value / own[row.seed, row.task] for row in rows.itertuples()]))


def test_each_way_has_its_points_its_score_and_its_difference_from_the_fixed_lambda(
    sweep: Sweep, found: SweepAnalysis
) -> None:
    for label in METHODS:
        ways = found.ways["math+code", label]
        assert list(ways) == ["fixed", "grid", "metagpt"]
        assert ways["fixed"].gap is None
        fixed = by_hand(sweep, label, "1")
        assert ways["fixed"].score.value == pytest.approx(fixed)
        for name, point in (("grid", "0.4"), ("metagpt", "0.8")):
            assert set(ways[name].chosen.values()) == {point}
            assert ways[name].score.value == pytest.approx(by_hand(sweep, label, point))
            gap = ways[name].gap
            assert gap.value == pytest.approx(by_hand(sweep, label, point) - fixed)
            assert gap.low <= gap.value <= gap.high


def test_a_true_difference_is_clear_and_has_its_direction(found: SweepAnalysis) -> None:
    assert found.ways["math+code", "ta"]["grid"].gap.clear
    assert found.ways["math+code", "ta"]["grid"].gap.value > 0
    assert found.ways["math+code", "lata_log"]["grid"].gap.value < 0


def test_two_ways_that_chose_alike_differ_by_exactly_nothing() -> None:
    drawn = chosen(make_sweep({"ta": METHODS["ta"]}, (1.0,), items=20), "1")
    ways = analyse_sweep(with_ways(drawn, fixed="1")).ways["math+code", "ta"]
    gap = ways["grid"].gap
    assert (gap.value, gap.low, gap.high, gap.clear) == (0.0, 0.0, 0.0, False)


def test_the_mean_of_differences_is_paired_over_methods(found: SweepAnalysis) -> None:
    gaps = [found.ways["math+code", label]["metagpt"].gap for label in ("ta", "lata_log")]
    mean = mean_gap(gaps, (0, 1))
    assert mean.value == pytest.approx((gaps[0].value + gaps[1].value) / 2)
    assert mean.statistic.value_xS == pytest.approx(np.mean([gap.statistic.value_xS for gap in gaps], axis=0))


def in_seed(gap: Contrast, seed: int) -> float:
    """The difference in one seed."""
    return float(gap.statistic.value_xS[gap.names.index(seed)])


def test_the_interval_of_one_seed_is_a_paired_t_interval_of_its_tasks() -> None:
    drawn = with_ways(chosen(make_sweep({"ta": METHODS["ta"]}, (0.4, 1.0), items=24), "0.4"), fixed="1")
    gap = analyse_sweep(drawn).ways["math+code", "ta"]["grid"].gap
    items = drawn.items[(drawn.items["split"] == TEST) & (drawn.items["label"] == "ta")]
    variance = 0.0
    for task, expert in (("gsm8k", "math"), ("humaneval", "code")):
        own = drawn.items[(drawn.items["split"] == TEST) & (drawn.items["label"] == expert)]
        scale = own[own["task"] == task]["value"].mean()
        rows = items[(items["task"] == task) & (items["filter"] == own[own["task"] == task]["filter"].iloc[0])]
        a, b = (rows[rows["point"] == point].set_index("item")["value"] for point in ("0.4", "1"))
        variance += (a - b).var() / 24 / (2 * scale) ** 2
    assert gap.high - gap.value == pytest.approx(stats.t.ppf(0.975, 23) * np.sqrt(variance))


def test_means_of_other_seeds_are_not_mixed(sweep: Sweep) -> None:
    """Of one method the choice of seed 1 alone is known: the mean over methods is of that seed."""
    missing = (sweep.others["selection"] == "metagpt") & (sweep.others["label"] == "ta") & (sweep.others["seed"] == 0)
    found = analyse_sweep(replace(sweep, others=sweep.others[~missing].reset_index(drop=True)))
    gaps = [found.ways["math+code", label]["metagpt"].gap for label in ("ta", "lata_log")]
    assert [list(gap.names) for gap in gaps] == [[1], [0, 1]]
    assert common_seeds(gaps) == [1]
    table = choosing_table(found)
    assert table.rows[-1].cells[9].raw[0] == pytest.approx(np.mean([in_seed(gap, 1) for gap in gaps]))
    assert "over methods without controls and the seeds that all of these have" in table.notes[2]
    assert "seeds that all" not in " ".join(choosing_table(analyse_sweep(sweep)).notes)


def test_methods_that_share_no_seed_have_no_mean(sweep: Sweep) -> None:
    metagpt = sweep.others["selection"] == "metagpt"
    kept = (sweep.others["label"] == "ta") == (sweep.others["seed"] == 0)
    found = analyse_sweep(replace(sweep, others=sweep.others[~metagpt | kept].reset_index(drop=True)))
    assert choosing_table(found).rows[-1].cells[9].text == "–"
    assert "norms of the task vectors stands" not in choosing_answers(found)[0].text


def test_the_table_has_a_group_a_way_and_a_mean_without_controls(found: SweepAnalysis) -> None:
    table = choosing_table(found)
    assert table.groups == [("fixed", 3), ("grid", 4), ("metagpt", 4)]
    assert [column.title for column in table.columns[3:7]] == ["λ", "norm.", "− fixed", "ppl"]
    assert [row.label for row in table.rows] == ["ta", "lata_log", "ta_half", "mean"]
    ta = table.rows[0]
    assert [ta.cells[place].text for place in (0, 3, 7)] == ["1", "0.4", "0.8"]
    assert ta.cells[4].best
    assert ta.cells[5].marks == "°"
    gaps = [found.ways["math+code", label]["grid"].gap.value for label in ("ta", "lata_log")]
    assert table.rows[-1].cells[5].raw[0] == pytest.approx(np.mean(gaps))


def test_the_sentence_says_every_way_against_the_fixed_lambda(found: SweepAnalysis) -> None:
    (answer,) = choosing_answers(found)
    assert answer.text.startswith(
        "Against λ set beforehand, λ chosen on the development split from a grid stands at "
    )
    assert "λ from the norms of the task vectors stands at " in answer.text
    assert answer.text.count("(mean over 2 methods and merges)") == 2


def test_lambda_is_a_mean_over_seeds_one_number_a_task() -> None:
    drawn = make_sweep({"ta": METHODS["ta"]}, (0.4, 1.0), seeds=(0, 1), items=20, per_task=True)
    fixed = with_ways(drawn, fixed="code=1,math=1").others
    points = {0: "code=0.4,math=1", 1: "code=1,math=1"}
    sweep = replace(drawn, choices=drawn.choices.assign(point=drawn.choices["seed"].map(points)), others=fixed)
    table = choosing_table(analyse_sweep(sweep))
    row = table.rows[0]
    assert "One λ a task is written in the alphabetical order of the experts." in table.notes
    assert (row.cells[0].text, row.cells[3].text) == ("1,1", "0.7,1")
    assert row.cells[3].raw == ("0.4,1 / 1,1",)


def test_a_way_without_a_stable_point_for_a_seed_says_for_how_many_it_stands(sweep: Sweep) -> None:
    some = sweep.others[(sweep.others["selection"] != "metagpt") | (sweep.others["seed"] == 0)]
    found = analyse_sweep(replace(sweep, others=some.reset_index(drop=True)))
    way = found.ways["math+code", "ta"]["metagpt"]
    assert way.chosen == {0: "0.8", 1: None}
    assert way.score.seeds == 1
    cell = choosing_table(found).rows[0].cells[7]
    assert (cell.text, cell.aside) == ("0.8", "(1 of 2 seeds)")


def without(sweep: Sweep, **rows: object) -> Sweep:
    """The sweep without some choices of other ways."""
    hit = np.logical_and.reduce([sweep.others[name] == value for name, value in rows.items()])
    return replace(sweep, others=sweep.others[~hit].reset_index(drop=True))


def test_a_way_that_found_nothing_for_the_hard_seed_is_not_bold() -> None:
    """Seed 1 scores less than seed 0, so that the mean of seed 0 alone is higher at the same λ."""
    drawn = make_sweep({"ta": Truth(9.0, 1.0, 0.5)}, (0.4, 1.0), seeds=(0, 1), items=40, noise=0, shift=0.4)
    every = with_ways(chosen(drawn, "0.4"), fixed="1", metagpt="1")
    for ways, bold in ((every, [True, True]), (without(every, selection="metagpt", seed=1), [True, False])):
        row = choosing_table(analyse_sweep(ways)).rows[0]
        assert [row.cells[place].best for place in (1, 8)] == bold
        assert not row.cells[4].best
    assert row.cells[8].raw[0] > row.cells[1].raw[0]


def test_ways_are_ranked_over_the_methods_and_seeds_that_all_of_them_have(sweep: Sweep) -> None:
    """Of ta one way is not known at all, of lata_log another one for seed 1 alone."""
    other = with_ways(chosen(sweep, "0.4"), fixed="0.8", metagpt="1.2", search="1")
    some = without(without(other, selection="search", label="ta"), selection="metagpt", label="lata_log", seed=0)
    found = analyse_sweep(some)
    gaps = {name: found.ways["math+code", "lata_log"][name].gap for name in ("grid", "metagpt", "search")}
    assert [list(gap.names) for gap in gaps.values()] == [[0, 1], [1], [0, 1]]
    top = max(gaps, key=lambda name: in_seed(gaps[name], 1))
    (answer,) = choosing_answers(found)
    value = 100 * in_seed(gaps[top], 1)
    assert answer.short == f"{top} +{value:.1f} points"
    assert f"Over what all of them have, 1 method and merges for seed 1, {top} stands highest, at +" in answer.text
    assert "what all of them have" not in choosing_answers(analyse_sweep(other))[0].text


def test_ways_that_share_no_method_and_seed_are_not_ranked(sweep: Sweep) -> None:
    some = without(without(sweep, selection="metagpt", label="lata_log"), selection="metagpt", seed=0)
    only = replace(some, choices=some.choices[some.choices["label"] != "ta"])
    (answer,) = choosing_answers(analyse_sweep(only))
    assert (answer.short, answer.good) == ("not comparable", None)
    assert answer.text.endswith("No method has all of these ways for one seed.")


def test_a_fixed_lambda_that_is_unstable_is_marked_and_nothing_is_compared_with_it() -> None:
    drawn = make_sweep({"ta": Truth(0.9, 0.4), "lata_log": METHODS["lata_log"]}, LAMBDAS, items=30, noise=0)
    found = analyse_sweep(with_ways(chosen(drawn, "0.4"), fixed="1.2"))
    ways = found.ways["math+code", "ta"]
    assert (ways["fixed"].score, ways["fixed"].unstable, ways["grid"].gap) == (None, (0,), None)
    table = choosing_table(found)
    assert table.rows[0].cells[1].marks == "†"
    assert any("unstable" in note for note in table.notes)


def test_without_a_fixed_lambda_the_sweeps_own_way_is_the_reference(sweep: Sweep) -> None:
    other = with_ways(sweep, metagpt="0.8")
    assert reference_of(other) == "grid"
    assert [column.title for column in choosing_table(analyse_sweep(other)).columns][3:] == [
        "λ",
        "norm.",
        "− grid",
        "ppl",
    ]


def test_one_way_alone_needs_no_table() -> None:
    found = analyse_sweep(make_sweep({"ta": METHODS["ta"]}, (0.4, 0.8), items=12))
    assert found.ways == {}
    assert choosing_table(found) is None
    assert choosing_answers(found) == ()


def test_ways_stand_in_one_order() -> None:
    assert in_order(["search", "mine", "grid", "fixed"]) == ["fixed", "grid", "search", "mine"]


def test_other_ways_need_test_scores_and_choose_once(sweep: Sweep) -> None:
    with pytest.raises(ValueError, match="no test score of learn math"):
        with_ways(sweep, fixed="3")
    twice = pd.concat([sweep.others, sweep.others[:1]])
    with pytest.raises(ValueError, match=r"sweep.others has two rows of .*each way of choosing chooses one λ"):
        replace(sweep, others=twice)


def test_other_ways_are_stored_read_back_pooled_and_cut_with_their_merges(sweep: Sweep, tmp_path: Path) -> None:
    found = analyse_sweep(sweep)
    found.scores.to_parquet(tmp_path / "scores.parquet")
    for name, content in stored.files(sweep).items():
        (tmp_path / name).write_bytes(content)
    read = stored.load(tmp_path)
    assert stored.files(read) == stored.files(sweep)
    pd.testing.assert_frame_equal(read.others, sweep.others)
    pooled = pool({"a": read, "b": replace(read, others=read.others[:0])})
    pd.testing.assert_frame_equal(pooled.others, sweep.others)
    two = make_sweep(METHODS, (0.4, 1.0), items=12, merges=("math+code", "math+ua"))
    drop = (two.scores["merge"] == "math+ua") & (two.scores["label"] == "ta")
    gone = (two.items["merge"] == "math+ua") & (two.items["label"] == "ta")
    kept = two.choices[~((two.choices["merge"] == "math+ua") & (two.choices["label"] == "ta"))]
    less = Sweep(two.scores[~drop], two.items[~gone], kept, two.similarity, two.weights, two.meta)
    assert set(compared(with_ways(less, fixed="1"), "ta").sweep.others["merge"]) == {"math+code"}
