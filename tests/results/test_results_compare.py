"""The comparisons: which tests are made, which are corrected, and what they find on studies of known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_study import make_study

from results.analysis.analysis import Analysis, analyse
from results.claims.registry import check_claims
from results.statistics import bootstrap
from results.statistics.closed_form import holm
from results.statistics.comparisons import COLUMNS
from results.study.run import Study

LEARN = ("ta", "ties", "dare", "lata_linear", "ta_half")


def no_difference(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
    return (2.4, 0.4, 0.5, 0.6) if kind == "learn" else None


@pytest.fixture(scope="module")
def full() -> Study:
    return make_study()


@pytest.fixture(scope="module")
def analysed(full: Study) -> Analysis:
    return analyse(full)


def test_the_confirmatory_family_is_each_schedule_against_three_baselines_on_merged_tasks(analysed: Analysis) -> None:
    found = analysed.comparisons
    family = found[found["status"] == "confirmatory"]
    assert tuple(found.columns) == COLUMNS
    assert len(family) == 3 * 3 * (3 + 3 + 3 + 4)
    assert set(family["a"]) == {"lata_linear", "lata_log", "lata_threshold"}
    assert set(family["b"]) == {"ta", "ties", "dare"}
    assert set(family[family["merge"] == "math+code"]["task"]) == {"wikitext", "gsm8k", "humaneval"}
    assert (family["kind"] == "learn").all()


def test_holm_corrects_the_confirmatory_family_and_nothing_else(analysed: Analysis) -> None:
    found = analysed.comparisons
    family = found["status"] == "confirmatory"
    assert found.loc[family, "p_corrected"].to_numpy() == pytest.approx(holm(found.loc[family, "p"].to_numpy()))
    assert found.loc[~family, "p_corrected"].isna().all()


def test_one_seed_uses_mcnemar_on_independent_items_and_t_elsewhere(analysed: Analysis) -> None:
    found = analysed.comparisons
    tests = found.groupby("task")["test"].agg(set).to_dict()
    assert tests["gsm8k"] == tests["humaneval"] == {"McNemar exact"}
    assert tests["wikitext"] == {"t over items"}
    assert tests["refusal"] == {"t over items"}  # its items come in clusters


def test_mcnemar_is_made_on_the_items_of_both_models(full: Study, analysed: Analysis) -> None:
    row = analysed.comparison("math+code", "gsm8k", "lata_linear", "ta")
    items = full.items[(full.items["merge"] == "math+code") & (full.items["filter"] == "strict-match")]
    a, b = (items[items["label"] == label].set_index("item")["value"] for label in ("lata_linear", "ta"))
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    assert row.p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert row.difference == pytest.approx(a.mean() - b.mean())


def test_several_seeds_are_tested_over_trainings() -> None:
    found = analyse(make_study(seeds=(0, 1, 2), methods=LEARN)).comparisons
    assert set(found["test"]) == {"t over trainings"}
    assert (found["seeds"] == 3).all()
    assert found["significant"].any()
    shown = found["p"] < 0.05
    assert (shown == ((found["ci_low"] > 0) | (found["ci_high"] < 0))).all()


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_no_mark_and_no_verdict_depends_on_random_numbers(
    monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...]
) -> None:
    study = make_study(seeds, methods=LEARN, merges=("math+code",), items=60)
    first = analyse(study)
    verdicts = check_claims(first)[["claim", "verdict", "numbers"]]
    for stream in (1, 2, 3):
        monkeypatch.setattr(bootstrap, "counts", lambda g, b, s, own=bootstrap.counts, by=stream: own(g, b, s + by))
        other = analyse(study)
        pd.testing.assert_frame_equal(other.comparisons, first.comparisons)
        pd.testing.assert_frame_equal(check_claims(other)[["claim", "verdict", "numbers"]], verdicts)


def test_seeds_are_not_pooled_as_if_independent() -> None:
    study = make_study(
        (0, 1, 2),
        methods=("ta", "lata_linear"),
        merges=("math+code",),
        tasks=("gsm8k",),
        skill=no_difference,
        seed_sd=0.5,
    )
    wide = analyse(study)
    row = wide.comparison("math+code", "gsm8k", "lata_linear", "ta")
    pooled = 1.96 * np.sqrt(2 * 0.4 * 0.6 / 900)
    assert row.ci_high - row.ci_low > 3 * pooled


def test_a_null_study_shows_no_confirmed_difference() -> None:
    confirmed = 0
    for seed in range(4):
        study = make_study((seed,), skill=no_difference, seed_sd=0, methods=LEARN, merges=("math+code",), forgets=())
        found = analyse(study).comparisons
        confirmed += int((found["significant"] & (found["status"] == "confirmatory")).sum())
    assert confirmed <= 1


def test_an_unstable_rival_is_marked_and_stays_out_of_the_correction() -> None:
    study = make_study(methods=LEARN, merges=("math+code",), forgets=())
    study.scores.loc[(study.scores["label"] == "dare") & (study.scores["task"] == "wikitext"), "value"] = np.inf
    broken = (study.items["label"] == "dare") & (study.items["task"] == "wikitext")
    study.items.loc[broken, "value"] = -np.inf
    found = analyse(study)
    row = found.comparison("math+code", "wikitext", "lata_linear", "dare")
    assert row.unstable_b
    assert np.isnan(row.p)
    assert not row.significant
    assert found.lead(row) == 1
    assert found.comparison("math+code", "wikitext", "lata_linear", "ta").p_corrected < 0.05


def test_without_the_baseline_other_pairs_are_still_compared() -> None:
    found = analyse(make_study(methods=("ties", "lata_log"), forgets=())).comparisons
    assert set(zip(found["a"], found["b"], strict=True)) == {("lata_log", "ties")}


def test_methods_of_other_papers_and_transferred_weights_are_compared_but_not_confirmatory() -> None:
    methods = ("ta", "lines", "lata_log", "lata_transferred(schedule=log)")
    study = make_study(methods=methods, merges=("math+code",), forgets=(), items=40)
    found = analyse(study)
    for rival in methods[1::2]:
        rows = found.comparisons[(found.comparisons["a"] == "lata_log") & (found.comparisons["b"] == rival)]
        assert set(rows["task"]) == {"wikitext", "gsm8k", "humaneval", "refusal"}
        assert set(rows["status"]) == {"exploratory"}
    assert [found.lineup.group_of(label) for label in methods] == ["baseline", "baseline", "lata", "control"]
    assert found.lineup.labels("learn") == list(methods)
