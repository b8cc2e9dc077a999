"""The frames of a sweep: what is refused, and which rows stand at which point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_sweep import METHODS, make_sweep

from results.analysis.analysis import analyse
from results.study.sweep import DEV, TEST, Sweep, lambdas_of, one_lambda


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return make_sweep(lambdas=(0.4, 0.8, 1.6), seeds=(0, 1), items=12)


def test_points_are_read_as_numbers() -> None:
    assert lambdas_of("code=0.4,math=1") == {"code": 0.4, "math": 1.0}
    assert (lambdas_of("0.6"), lambdas_of("")) == ({"": 0.6}, {})
    assert one_lambda("0.6") == 0.6
    assert np.isnan(one_lambda("code=0.4,math=1"))
    with pytest.raises(ValueError, match="not a point; write"):
        lambdas_of("code:0.4")


def test_the_study_at_the_choices_has_one_point_for_each_merge_and_the_test_split_alone(sweep: Sweep) -> None:
    study = sweep.at()
    assert set(study.scores["split"]) == set(study.items["split"]) == {TEST}
    merges = study.scores[study.scores["kind"] == "learn"]
    found = merges.groupby(["seed", "label"])["point"].agg(["nunique", "first"])
    assert (found["nunique"] == 1).all()
    assert len(found) == 2 * len(METHODS)
    for row in sweep.choices.itertuples():
        assert found.loc[(row.seed, row.label), "first"] == row.point
    assert set(study.scores.loc[study.scores["kind"] == "model", "label"]) == {"pre", "math", "code"}
    assert analyse(study).lineup.seeds == [0, 1]


def test_the_study_at_given_points_has_those_merges_alone(sweep: Sweep) -> None:
    study = sweep.at({(1, "learn", "math+code", "ta"): "1.6"})
    merges = study.scores[study.scores["kind"] == "learn"]
    assert set(merges["label"]) == {"ta"}
    assert set(merges["point"]) == {"1.6"}
    assert set(merges["seed"]) == {1}
    with pytest.raises(ValueError, match=r"no test score of learn math\+code ta, seed 0 at λ = 3"):
        sweep.at({(0, "learn", "math+code", "ta"): "3"})


def test_every_row_is_found_once_under_its_point(sweep: Sweep) -> None:
    for table in ("scores", "items"):
        places = np.concatenate([rows for split in (TEST, DEV) for rows in sweep.rows(table, split).values()])
        assert np.array_equal(np.sort(places), np.arange(len(getattr(sweep, table))))


def test_points_stand_in_the_order_that_was_asked_for_then_by_number(sweep: Sweep) -> None:
    assert sweep.points("learn", "math+code", "ta") == ["0.4", "0.8", "1.6"]
    assert sweep.ordered(["1.6", "10", "0.4", "2", "a=1,b=2", "a=1,b=1"]) == [
        *("0.4", "1.6", "2", "10", "a=1,b=1", "a=1,b=2"),
    ]


def test_frames_that_do_not_belong_together_are_refused(sweep: Sweep) -> None:
    with pytest.raises(ValueError, match=r"sweep.items lacks the columns point"):
        replace(sweep, items=sweep.items.drop(columns="point"))
    with pytest.raises(ValueError, match="no row of the test split"):
        replace(sweep, scores=sweep.scores[sweep.scores["split"] == DEV])
    twice = sweep.scores.iloc[[*range(len(sweep.scores)), 0]]
    with pytest.raises(ValueError, match=r"sweep.scores has two rows of model pre .*, seed 0"):
        replace(sweep, scores=twice)
    with pytest.raises(ValueError, match=r"sweep.choices has two rows"):
        replace(sweep, choices=sweep.choices.iloc[[0, 0]])
    with pytest.raises(ValueError, match="at λ = 7; evaluate this point"):
        replace(sweep, choices=sweep.choices.assign(point="7"))
