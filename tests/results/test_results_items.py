"""Scores and their items: intervals, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from synthetic_study import make_study

from results.analysis.analysis import analyse
from results.study.lineup import Model
from results.study.run import Study


@pytest.fixture
def small() -> Study:
    return make_study(methods=("ta", "lata_linear"), merges=("math+code",), forgets=(), items=60)


def test_every_score_gets_an_interval_that_contains_it(small: Study) -> None:
    scores = analyse(small).scores
    assert scores[["stderr", "ci_low", "ci_high"]].notna().all(axis=None)
    assert (scores["ci_low"] <= scores["value"] + 1e-9).all()
    assert (scores["ci_high"] >= scores["value"] - 1e-9).all()
    assert len(scores) == len(small.scores)


def test_a_rate_of_independent_items_has_wilsons_interval(small: Study) -> None:
    row = analyse(small).scores.query("label == 'ta' and task == 'gsm8k' and filter == 'strict-match'").iloc[0]
    expected = stats.binomtest(round(row["value"] * 60), 60).proportion_ci(method="wilson")
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert row["stderr"] == pytest.approx(np.sqrt(row["value"] * (1 - row["value"]) / 59))


def test_items_that_belong_together_widen_the_interval() -> None:
    study = make_study(methods=("ta",), merges=("ua+math",), forgets=())
    alone = Study(study.scores, study.items.assign(cluster=""), meta=study.meta)
    key = Model("learn", "ua+math", "ta")
    together = analyse(study).estimates["refusal"][key]
    apart = analyse(alone).estimates["refusal"][key]
    assert together.value == apart.value
    assert together.high - together.low > 1.15 * (apart.high - apart.low)


def test_a_rate_of_zero_keeps_an_interval_over_several_seeds() -> None:
    found = analyse(make_study((0, 1, 2), methods=("ta",), merges=("math+code",), forgets=()))
    none = found.estimates["refusal"][Model("learn", "math+code", "ta")]
    assert none.value == 0
    assert none.high > 0.01


def test_bits_are_the_logarithm_of_byte_perplexity(small: Study) -> None:
    wide = (
        analyse(small)
        .scores.query("task == 'wikitext'")
        .pivot_table(index=["kind", "label"], columns="metric", values=["value", "ci_low", "ci_high"])
    )
    for column in ("value", "ci_low", "ci_high"):
        assert wide[column]["bits_per_byte"].to_numpy() == pytest.approx(np.log2(wide[column]["byte_perplexity"]))


def test_the_order_of_rows_does_not_matter(small: Study) -> None:
    shuffled = Study(
        small.scores.sample(frac=1, random_state=0), small.items.sample(frac=1, random_state=1), meta=small.meta
    )
    first, second = analyse(small), analyse(shuffled)
    assert first.scores.equals(second.scores)
    assert first.comparisons.equals(second.comparisons)


def test_a_missing_item_is_refused_with_the_model_and_the_task(small: Study) -> None:
    gone = (small.items["label"] == "ta") & (small.items["task"] == "humaneval") & (small.items["item"] == 7)
    with pytest.raises(ValueError, match=r"humaneval pass@1.*learn math\+code ta has 59 items where others have 60"):
        analyse(Study(small.scores, small.items[~gone], meta=small.meta))


def test_a_score_that_is_not_its_items_aggregate_is_refused(small: Study) -> None:
    scores = small.scores.copy()
    scores.loc[(scores["label"] == "ta") & (scores["task"] == "humaneval"), "value"] += 0.1
    with pytest.raises(ValueError, match=r"score and items disagree for learn math.code ta, seed 0, humaneval"):
        analyse(Study(scores, small.items, meta=small.meta))


def test_missing_columns_and_an_empty_study_are_refused(small: Study) -> None:
    with pytest.raises(ValueError, match=r"study\.items lacks the columns weight"):
        Study(small.scores, small.items.drop(columns="weight"))
    with pytest.raises(ValueError, match=r"study\.scores is empty"):
        Study(small.scores.iloc[:0], small.items)


def test_ten_times_the_perplexity_of_pre_is_unstable_in_that_seed_alone() -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        return (40.0, 0.0, 0.0, 0.0) if label == "dare" else None

    study = make_study((0, 1), methods=("ta", "dare"), merges=("math+code",), forgets=(), skill=skill, seed_sd=0)
    calm = (study.scores["label"] == "dare") & (study.scores["seed"] == 1) & (study.scores["task"] == "wikitext")
    other = (study.items["label"] == "dare") & (study.items["seed"] == 1) & (study.items["task"] == "wikitext")
    ta = (study.items["label"] == "ta") & (study.items["seed"] == 1) & (study.items["task"] == "wikitext")
    study.items.loc[other, "value"] = study.items.loc[ta, "value"].to_numpy()
    ta_scores = (study.scores["label"] == "ta") & (study.scores["seed"] == 1) & (study.scores["task"] == "wikitext")
    study.scores.loc[calm, "value"] = study.scores.loc[ta_scores, "value"].to_numpy()
    found = analyse(study)
    key = Model("learn", "math+code", "dare")
    assert found.lineup.unstable_seeds(key) == [0]
    assert found.estimates["wikitext"][key].value < 5  # the unstable seed is not averaged in
    marked = found.scores[found.scores["unstable"]]
    assert set(zip(marked["label"], marked["seed"], strict=True)) == {("dare", 0)}
