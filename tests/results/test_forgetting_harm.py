"""Where harm falls to the threshold, and what it costs: by hand, and sweeps of forgettings whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_sweep import Fall, make_forgetting

from results.analysis.analysis import SweepAnalysis, analyse_sweep
from results.analysis.crossings import difference, first_crossing
from results.analysis.forgetting import Passage, along, gap
from results.claims.forgetting import c3
from results.claims.verdicts import NOT_SUPPORTED
from results.statistics.bootstrap import interval
from results.study.lineup import Lineup, Model
from results.study.run import Study
from results.study.sweep import Sweep

MERGE = "target_l2-ua"
X = np.array([0.0, 1.0, 2.0, 4.0])


def reached(*harm: float, limit: float = 0.1) -> float:
    return float(first_crossing(X, -np.array(harm)[:, None], -limit, reach=True)[0][0])


def test_harm_falls_to_the_threshold_where_it_meets_it_not_only_below_it() -> None:
    assert reached(0.9, 0.5, 0.1, 0.1) == 2.0
    assert reached(0.9, 0.3, 0.2, 0.0) == 3.0  # half way from 2 to 4
    assert reached(0.9, 0.0, 0.9, 0.0) == pytest.approx(0.8 / 0.9)  # the first of two
    assert reached(0.1, 0.9, 0.9, 0.9) == 0.0  # harmless from the start
    assert reached(0.9, 0.5, 0.2, 0.11) == math.inf


def test_a_score_is_read_off_its_line() -> None:
    y = np.array([0.8, 0.6, 0.6, 0.2])[:, None]
    for at, value in ((0.0, 0.8), (0.5, 0.7), (1.0, 0.6), (3.0, 0.4), (4.0, 0.2), (9.0, 0.2)):
        assert along(X, y, np.array([at]))[0] == pytest.approx(value)


def test_between_a_number_and_what_is_not_finite_nothing_is_made_up() -> None:
    y = np.log(np.array([2.0, 3.0, math.inf, math.inf]))[:, None]
    assert along(X, y, np.array([1.0]))[0] == pytest.approx(math.log(3))
    assert along(X, y, np.array([1.5]))[0] == math.inf


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(-1, 6))
def test_reading_agrees_with_numpys_interpolation(values: list[float], at: float) -> None:
    found = along(X, np.array(values)[:, None], np.array([at]))[0]
    assert found == pytest.approx(float(np.interp(at, X, values)), abs=1e-12)


EXACT = {
    "ta": Fall(0.8, 0.20, 9.0),
    "lata_log": Fall(0.6, 0.05, 9.0, refusing=0.2),
    "lata_threshold": Fall(0.5, 0.0, 9.0),
    "lata_linear": Fall(0.5, 0.1, 1.3),
    "safety_arithmetic": Fall(0.3, 0.01),
}


@pytest.fixture(scope="module")
def exact() -> SweepAnalysis:
    return analyse_sweep(make_forgetting(EXACT, items=100, noise=0.0))


@pytest.fixture(scope="module")
def noisy() -> SweepAnalysis:
    """Three seeds whose harm falls ever faster; of one method only that of the last falls far enough."""
    truth = {"ta": Fall(0.8, 0.2), "lata_threshold": Fall(0.55, 0.02), "lata_log": Fall(0.3, 0.01)}
    return analyse_sweep(make_forgetting(truth, seeds=(0, 1, 2), shift=0.1, items=60))


def of(found: SweepAnalysis, label: str) -> Passage:
    passage = found.forgettings[MERGE, label].passage
    assert passage is not None
    return passage


@pytest.mark.parametrize("label", ["ta", "lata_log", "lata_threshold", "lata_linear"])
def test_the_known_lambda_is_found_between_the_points(exact: SweepAnalysis, label: str) -> None:
    crossing = of(exact, label).crossing
    assert crossing.value == pytest.approx(EXACT[label].crossing(), abs=0.02)
    assert crossing.low < crossing.value < crossing.high


def test_the_known_cost_is_read_there_and_paired_with_before(exact: SweepAnalysis) -> None:
    there = of(exact, "ta").there
    lam = EXACT["ta"].crossing()
    assert of(exact, "ta").before["mean"].value == pytest.approx(0.8)
    assert there["gsm8k"].change.value == pytest.approx(-0.2 * lam, abs=0.01)
    assert there["xquad_de"].change.value == pytest.approx(-0.4 * lam, abs=0.01)
    assert there["mean"].change.value == pytest.approx(-0.3 * lam, abs=0.01)
    assert there["mean"].there.value == pytest.approx(0.8 - 0.3 * lam, abs=0.01)
    assert there["wikitext"].change.value == pytest.approx(10 ** ((lam / 9) ** 2), rel=0.01)
    # nothing is lost, and no draw of items can say otherwise
    free = of(exact, "lata_threshold").there["mean"].change
    assert (free.value, free.low, free.high) == (0.0, 0.0, 0.0)


def test_harm_that_never_falls_so_low_has_a_bound_and_nothing_to_read(exact: SweepAnalysis) -> None:
    passage = of(exact, "safety_arithmetic")
    assert passage.crossing.never
    assert passage.crossing.top == 2.0
    assert passage.there == {}
    assert not passage.clean


def test_a_crossing_beyond_the_first_unstable_point_is_marked(exact: SweepAnalysis) -> None:
    passage = of(exact, "lata_linear")  # harmless from 1.6 on, unstable from about 1.27 on
    assert passage.first == {0: 1.4}
    assert passage.unstable == (0,)
    assert not passage.clean
    assert of(exact, "ta").unstable == ()
    assert of(exact, "ta").clean


def test_answers_that_neither_comply_nor_refuse_are_broken(exact: SweepAnalysis) -> None:
    broken = of(exact, "lata_log")
    assert broken.there["refused"].there.value == pytest.approx(0.2 * 0.9, abs=0.01)
    assert broken.broken
    assert not broken.clean
    assert of(exact, "ta").there["refused"].there.value == pytest.approx(0.9, abs=0.01)
    assert not of(exact, "ta").broken


def test_without_refusals_nothing_is_called_broken() -> None:
    found = analyse_sweep(make_forgetting({"ta": Fall(0.8, 0.1, refusing=None)}, (0.6, 1.2), items=40))
    assert "refused" not in of(found, "ta").there
    assert not of(found, "ta").broken


def test_seeds_that_do_not_get_there_make_the_mean_a_lower_bound(noisy: SweepAnalysis) -> None:
    crossing = of(noisy, "lata_log").crossing  # 2.67, 2 and 1.6
    assert crossing.bound
    assert not crossing.never
    assert crossing.seeds_S[0] == math.inf
    assert crossing.value == pytest.approx(np.minimum(crossing.seeds_S, 2.0).mean())
    assert not of(noisy, "lata_log").clean


def test_seeds_widen_the_interval_around_their_mean(noisy: SweepAnalysis) -> None:
    crossing = of(noisy, "ta").crossing
    assert crossing.seeds_S == pytest.approx([1.0, 0.8 / 0.9, 0.8], abs=0.15)
    assert crossing.value == pytest.approx(crossing.seeds_S.mean())
    assert crossing.low < crossing.value < crossing.high


def test_differences_of_lambda_and_of_cost_are_paired(noisy: SweepAnalysis) -> None:
    a, b = of(noisy, "ta"), of(noisy, "lata_threshold")
    lam = difference(a.crossing, b.crossing)
    assert lam.value == pytest.approx(a.crossing.value - b.crossing.value)
    apart = np.hypot(a.crossing.high - a.crossing.value, b.crossing.high - b.crossing.value)
    assert lam.low < lam.value < lam.high < lam.value + apart
    cost = gap(a.there["mean"], b.there["mean"])
    assert cost.value == pytest.approx(a.there["mean"].change.value - b.there["mean"].change.value)
    assert cost.low < cost.value < cost.high < 0
    own = gap(a.there["mean"], a.there["mean"])
    assert (own.value, own.low, own.high) == (0.0, 0.0, 0.0)


def test_two_methods_that_are_one_differ_by_nothing_beyond_noise() -> None:
    found = analyse_sweep(make_forgetting({"ta": Fall(0.6, 0.05), "lata_threshold": Fall(0.6, 0.05)}, items=60))
    lam = difference(of(found, "ta").crossing, of(found, "lata_threshold").crossing)
    assert lam.low < 0 < lam.high
    cost = gap(of(found, "ta").there["mean"], of(found, "lata_threshold").there["mean"])
    assert cost.low < 0 < cost.high


@pytest.mark.parametrize("items", [60, 200])
def test_the_interval_covers_the_true_lambda(items: int) -> None:
    """Answers at neighbouring λ are correlated, as those of one model that changes little by little."""
    rng = np.random.default_rng(items)
    lam = np.linspace(0, 2, 11)
    truth, covered = np.maximum(0.9 - 0.6 * lam, 0), 0
    for _ in range(200):
        own = rng.random((items, 1)) if rng.random() < 0.5 else rng.random((items, len(lam)))
        harm = (own < truth).astype(float)
        counts = rng.multinomial(items, np.full(items, 1 / items), size=400)
        draws = (counts @ harm).T / items
        found, _ = first_crossing(lam, -draws, -0.1, reach=True)
        low, high = interval(np.minimum(found, 2.0)[None], units=items)
        covered += float(low[0]) <= 0.8 / 0.6 <= float(high[0])
    assert covered >= 0.9 * 200


@pytest.mark.parametrize("before", [0.02, 0.10])
def test_a_target_that_is_harmless_already_has_nothing_to_forget(before: float) -> None:
    truth = {"ta": Fall(0.01, 0.1, before=before)}
    found = analyse_sweep(make_forgetting(truth, (0.6, 1.2), seeds=(0, 1, 2), items=50, noise=0.0))
    passage = of(found, "ta")
    assert passage.before["refusal"].value == pytest.approx(before)
    assert passage.crossing is None
    assert passage.there == {}
    assert not passage.broken
    assert not passage.clean


def test_a_target_a_little_above_the_threshold_has_something_to_forget() -> None:
    found = analyse_sweep(make_forgetting({"ta": Fall(0.1, before=0.12)}, (0.6, 1.2), items=50, noise=0.0))
    crossing = of(found, "ta").crossing
    assert crossing is not None
    assert crossing.value == pytest.approx(0.2, abs=0.1)
    assert crossing.low == 0.0  # replicates whose harm before is at the threshold


def test_without_the_targets_own_scores_there_is_no_crossing_but_every_point() -> None:
    sweep = make_forgetting(lambdas=(0.2, 1.6), items=20)
    keep = sweep.scores["label"] != "target_l2"
    found = analyse_sweep(
        replace(sweep, scores=sweep.scores[keep], items=sweep.items[sweep.items["label"] != "target_l2"])
    )
    one = found.forgettings[MERGE, "ta"]
    assert one.passage is None
    assert one.curve.points[0] == "0.2"
    assert one.choice.change == {}


def test_a_forgetting_is_unstable_by_its_target_too_where_pre_knows_nothing_of_the_text() -> None:
    """The perplexity of pre on another language's text is no measure of a model that speaks it."""
    rows = [("model", "", "pre", 1e6), ("model", "", "target", 20.0)]
    rows += [("forget", "target-ua", label, ppl) for label, ppl in (("ta", 199.0), ("lata_log", 201.0))]
    rows += [("learn", "math", "ta", 5e6)]
    scores = pd.DataFrame(rows, columns=["kind", "merge", "label", "value"]).assign(
        **{"seed": 0, "method": "", "lambda": 1.0, "task": "wikitext", "metric": "word_perplexity"},
        **{"filter": "none", "split": "test", "n": 1},
    )
    items = pd.DataFrame(columns=[*scores.columns, "item", "cluster", "weight"])
    lineup = Lineup(Study(scores, items, meta={"forgets": {"target-ua": {"target": "target", "forget": "ua"}}}))
    found = {key: bool(lineup.unstable_seeds(key)) for key in lineup.models}
    assert found[Model("forget", "target-ua", "lata_log")]
    assert sum(found.values()) == 1


def test_an_unstable_merge_has_forgotten_nothing_however_low_its_harm_is() -> None:
    sweep = make_forgetting({"lata_threshold": Fall(0.9, 0.0, 0.9)}, (0.8, 1.4), items=50, noise=0.0)
    found = analyse_sweep(sweep)
    assert found.forgettings[MERGE, "lata_threshold"].choice.chosen == {0: "0.8"}
    broken = analyse_sweep(replace(sweep, choices=sweep.choices.assign(point="1.4")))
    verdict = c3(broken.chosen)
    assert verdict.verdict == NOT_SUPPORTED
    assert "unstable" in verdict.detail[0]
    assert broken.forgettings[MERGE, "lata_threshold"].choice.unstable == (0,)
    assert broken.forgettings[MERGE, "lata_threshold"].choice.change == {}


def test_the_change_at_the_chosen_lambda_is_that_of_the_scores(noisy: SweepAnalysis) -> None:
    sweep: Sweep = noisy.sweep
    test = sweep.scores[(sweep.scores["split"] == "test") & sweep.scores["task"].isin(["gsm8k", "xquad_de"])]
    mean = test.groupby(["seed", "kind", "label", "point"])["value"].mean()
    for label in ("ta", "lata_threshold"):
        choice = noisy.forgettings[MERGE, label].choice
        moved = [
            mean[seed, "forget", label, point] - mean[seed, "model", "target_l2", ""]
            for seed, point in choice.chosen.items()
        ]
        assert choice.change["mean"].value == pytest.approx(np.mean(moved))
        assert choice.change["mean"].low < np.mean(moved) < choice.change["mean"].high
