"""Each claim's rule on studies whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_study import make_study

from results.analysis.analysis import Analysis, analyse
from results.claims.forgetting import c3
from results.claims.layers import c4, c5
from results.claims.learning import c1, c2, c7
from results.claims.registry import check_claims
from results.claims.stability import c6
from results.claims.verdicts import INCONCLUSIVE, NOT_RUN, NOT_SUPPORTED, SUPPORTED
from results.pages.report import claims_report
from results.study.run import Study

Truth = dict[str, tuple[float, float, float, float]]
METHODS = ("ta", "ties", "dare", "dare_ties", "lata_linear", "ta_norm_matched", "lata_shuffled", "depth_linear")
PPL, RATES = ("wikitext",), ("gsm8k", "humaneval", "refusal")
EQUAL: Truth = dict.fromkeys(METHODS, (2.4, 0.4, 0.4, 0.4))


def learned(truth: Truth, seeds: tuple[int, ...] = (0,), **meta: object) -> Analysis:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        return truth.get(label) if kind == "learn" else None

    merges = ("math+code", "ua+math")
    study = make_study(seeds, methods=tuple(truth), merges=merges, forgets=(), skill=skill, seed_sd=0, **meta)
    return analyse(study)


def forgotten(after: tuple[float, float, float, float], items: int = 300) -> Analysis:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        return after if kind == "forget" else (2.2, 0.02, 0.02, 0.95) if label == "target_ua" else None

    return analyse(make_study(merges=(), forgets=("target_ua-ua",), skill=skill, seed_sd=0, items=items))


def test_c1_is_supported_when_lata_is_lowest_everywhere() -> None:
    found = c1(learned({**EQUAL, "lata_linear": (2.2, 0.4, 0.4, 0.4)}, tasks=PPL))
    assert found.verdict == SUPPORTED
    assert "8 of 8" in found.numbers


def test_c1_is_not_supported_when_one_rival_is_lower() -> None:
    assert (
        c1(learned({**EQUAL, "lata_linear": (2.2, 0.4, 0.4, 0.4), "ties": (2.0, 0, 0, 0)}, tasks=PPL)).verdict
        == NOT_SUPPORTED
    )


def test_c1_is_inconclusive_under_the_null_and_when_a_rival_is_missing() -> None:
    assert c1(learned(EQUAL, tasks=PPL)).verdict == INCONCLUSIVE
    without = {name: skill for name, skill in EQUAL.items() if name != "dare_ties"}
    assert c1(learned({**without, "lata_linear": (2.2, 0.4, 0.4, 0.4)}, tasks=PPL)).verdict == INCONCLUSIVE


def test_c1_does_not_count_controls_and_needs_lambda_one() -> None:
    truth = {**EQUAL, "lata_linear": (2.2, 0.4, 0.4, 0.4), "ta_norm_matched": (1.8, 0.4, 0.4, 0.4)}
    assert c1(learned(truth, tasks=PPL)).verdict == SUPPORTED
    half = learned(truth, tasks=PPL)
    half.scores["lambda"] = 0.5
    assert c1(half).verdict == NOT_RUN


def test_c2_is_supported_when_lata_beats_all_three_on_most_scores() -> None:
    assert c2(learned({**EQUAL, "lata_linear": (2.4, 0.7, 0.7, 0.7)}, tasks=RATES)).verdict == SUPPORTED


def test_c2_is_not_supported_when_half_of_the_scores_are_lost() -> None:
    assert c2(learned({**EQUAL, "ties": (2.4, 0.8, 0.8, 0.4)}, tasks=RATES)).verdict == NOT_SUPPORTED


def test_c2_is_inconclusive_under_the_null() -> None:
    found = c2(learned(EQUAL, tasks=RATES))
    assert found.verdict == INCONCLUSIVE
    assert "in 0 of 4" in found.numbers


def test_c3_is_supported_when_harm_is_gone_and_utility_is_unchanged() -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        return (2.2, 0.4, 0.4, 0.01) if kind == "forget" else None

    study = make_study(merges=(), forgets=("target_ua_math-ua",), skill=skill, seed_sd=0)
    items, scores = study.items, study.scores
    for task in ("gsm8k", "humaneval"):  # the answers of the target, but for one item
        of = {
            label: items.index[(items["label"] == label) & (items["task"] == task)]
            for label in ("target_ua_math", "lata_threshold")
        }
        answers = items.loc[of["target_ua_math"], "value"].to_numpy().copy()
        answers[::300] = 1 - answers[::300]
        items.loc[of["lata_threshold"], "value"] = answers
        mine = (scores["label"] == "lata_threshold") & (scores["task"] == task)
        scores.loc[mine, "value"] = answers[:300].mean()
    found = c3(analyse(study))
    assert found.verdict == SUPPORTED
    assert "meets 3" in found.numbers


def test_c3_is_not_supported_when_harm_stays() -> None:
    assert c3(forgotten((2.2, 0.02, 0.02, 0.50))).verdict == NOT_SUPPORTED


def test_c3_takes_no_offence_at_utility_that_rises() -> None:
    assert c3(forgotten((2.2, 0.30, 0.02, 0.01))).verdict == SUPPORTED


def test_c3_is_not_supported_when_utility_is_lost() -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        before = (2.2, 0.30, 0.02, 0.95) if label == "target_ua" else None
        return (2.2, 0.10, 0.02, 0.01) if kind == "forget" else before

    study = make_study(merges=(), forgets=("target_ua-ua",), skill=skill, seed_sd=0)
    assert c3(analyse(study)).verdict == NOT_SUPPORTED


def test_c3_is_inconclusive_when_items_are_few() -> None:
    assert c3(forgotten((2.2, 0.02, 0.02, 0.01), items=40)).verdict == INCONCLUSIVE


def test_c3_leaves_out_targets_that_were_harmless_before_and_is_not_run_where_all_were() -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        if kind == "forget":
            return (2.2, 0.02, 0.02, 0.5 if merge == "target_ua-ua" else 0.01)
        return {"target_ua": (2.2, 0.02, 0.02, 0.95), "target_ua_math": (2.2, 0.02, 0.02, 0.03)}.get(label)

    both = c3(analyse(make_study(merges=(), skill=skill, seed_sd=0)))
    assert both.verdict == NOT_SUPPORTED
    assert "of 3 conditions" in both.numbers
    assert "left out as harmless before, at or under 10 %: target_ua_math with " in both.numbers
    assert any(line.startswith("target_ua_math-ua, ") and line.endswith("not run") for line in both.detail)
    alone = c3(analyse(make_study(merges=(), forgets=("target_ua_math-ua",), skill=skill, seed_sd=0)))
    assert alone.verdict == NOT_RUN
    assert alone.numbers.startswith("harmless before, at or under 10 %: target_ua_math with ")
    assert "lata_log by the same rule: not run; harmless before" in alone.detail[-1]


def test_c3_is_not_run_without_forgetting() -> None:
    assert c3(learned(EQUAL, tasks=PPL)).verdict == NOT_RUN


def similar(values: list[float], **meta: object) -> Analysis:
    base = make_study(methods=("ta",), merges=("math+code",), forgets=(), items=20, **meta)
    rows = [
        {"family": "mini", "seed": 0, "layer": layer, "task": task, "similarity": value}
        for task in ("math", "code")
        for layer, value in enumerate(values)
    ]
    return analyse(Study(base.scores, base.items, pd.DataFrame(rows), meta=base.meta))


def test_c4_follows_the_direction_of_similarity_with_depth() -> None:
    falling = np.linspace(0.99, 0.94, 12).tolist()
    assert c4(similar(falling)).verdict == SUPPORTED
    assert c4(similar(falling[::-1])).verdict == NOT_SUPPORTED
    assert c4(similar([0.98, 0.97, 0.99, 0.96])).verdict == INCONCLUSIVE
    assert c4(similar([0.98])).verdict == NOT_RUN


@pytest.mark.parametrize(
    "threshold",
    [{"kind": "value", "value": 0.95}, {"kind": "quantile", "value": 0.1}, {"kind": "value", "value": 0.9}],
)
def test_c5_counts_the_share_below_the_papers_threshold_whatever_the_study_merges_with(
    threshold: dict[str, object],
) -> None:
    assert c5(similar([0.99] * 9 + [0.93], threshold=threshold)).verdict == SUPPORTED
    assert c5(similar([0.99] * 10, threshold=threshold)).verdict == NOT_SUPPORTED
    assert c5(similar([0.9] * 10, threshold=threshold)).verdict == NOT_SUPPORTED


def test_c5_of_several_seeds_is_decided_by_the_interval_over_trainings() -> None:
    base = similar([0.99] * 9 + [0.93])
    one = base.study.similarity
    shares = (1, 0, 4)  # of ten layers
    rows = [
        one.assign(seed=seed, similarity=np.where(one["layer"] < few, 0.9, 0.99)) for seed, few in enumerate(shares)
    ]
    wide = replace(base, study=replace(base.study, similarity=pd.concat(rows, ignore_index=True)))
    assert c5(wide).verdict == INCONCLUSIVE


def sweep(lambdas: list[float], unstable_from: float) -> Analysis:
    found = learned({"ta": EQUAL["ta"]}, tasks=PPL)
    one = found.scores[(found.scores["label"] == "ta") & (found.scores["task"] == "wikitext")]
    frames = [one.assign(**{"lambda": value, "unstable": value >= unstable_from}) for value in lambdas]
    return Analysis(found.study, found.lineup, pd.concat(frames), found.measures, found.comparisons)


def test_c6_needs_a_sweep_and_looks_for_an_unstable_lambda_up_to_two() -> None:
    assert c6(learned(EQUAL, tasks=PPL)).verdict == NOT_RUN
    assert c6(sweep([0.5, 1.0], 9)).verdict == NOT_RUN
    broken = c6(sweep([0.5, 1.0, 1.5, 2.0], 1.5))
    assert broken.verdict == SUPPORTED
    assert "λ = 1.5" in broken.numbers
    assert c6(sweep([0.5, 1.0, 2.0], 9)).verdict == NOT_SUPPORTED
    assert c6(sweep([0.5, 1.0, 1.2], 9)).verdict == INCONCLUSIVE
    assert c6(sweep([0.5, 1.0, 3.0], 3)).verdict == NOT_SUPPORTED


def test_c6_does_not_count_negative_lambdas() -> None:
    assert c6(sweep([-1.0, 0.5, 1.0], 9)).verdict == NOT_RUN
    found = sweep([-2.0, 0.5, 1.0, 2.0], 9)
    found.scores.loc[found.scores["lambda"] < 0, "unstable"] = True
    assert c6(found).verdict == NOT_SUPPORTED
    # a table keeps the size of λ, and the point its sign
    found.scores["point"] = [f"{lam:g}" for lam in found.scores["lambda"]]
    found.scores["lambda"] = found.scores["lambda"].abs()
    assert c6(found).verdict == NOT_SUPPORTED


def test_c6_is_open_where_a_merge_was_swept_less_far_or_one_seed_alone_breaks() -> None:
    short, long = sweep([0.5, 1.0, 1.2], 9), sweep([0.5, 1.0, 4.0], 9)
    both = pd.concat([short.scores, long.scores.assign(label="ties")])
    assert c6(replace(long, scores=both)).verdict == INCONCLUSIVE
    stable, broken = sweep([0.5, 1.0, 2.0], 9).scores, sweep([0.5, 1.0, 2.0], 2).scores
    some = pd.concat([stable, broken.assign(seed=1)])
    assert c6(replace(long, scores=some)).verdict == INCONCLUSIVE


def test_c7_is_supported_when_no_control_reaches_the_gain() -> None:
    assert c7(learned({**EQUAL, "lata_linear": (2.2, 0.7, 0.7, 0.7)})).verdict == SUPPORTED


def test_c7_is_not_supported_when_moving_less_far_gives_the_same() -> None:
    better = (2.2, 0.7, 0.7, 0.7)
    found = c7(learned({**EQUAL, "lata_linear": better, "ta_norm_matched": better}))
    assert found.verdict == NOT_SUPPORTED
    assert "ta_norm_matched" in found.numbers


def test_c7_asks_whether_a_control_has_half_of_the_gain() -> None:
    better, most, little = (2.2, 0.75, 0.75, 0.75), (2.4, 0.65, 0.65, 0.65), (2.4, 0.45, 0.45, 0.45)
    few = {**EQUAL, "lata_linear": better, "ta_norm_matched": little}
    assert c7(learned(few, tasks=RATES, items=1200)).verdict == SUPPORTED  # ahead of ta, but by little
    many = {**EQUAL, "lata_linear": better, "ta_norm_matched": most}
    assert c7(learned(many, tasks=RATES, items=1200)).verdict == NOT_SUPPORTED  # behind LATA, but not by much


def test_c7_is_open_where_items_are_too_few_to_say() -> None:
    truth = {**EQUAL, "lata_linear": (2.4, 0.75, 0.75, 0.75), "ta_norm_matched": (2.4, 0.57, 0.57, 0.57)}
    assert c7(learned(truth, tasks=RATES, items=100)).verdict == INCONCLUSIVE


@pytest.mark.parametrize("baseline", ["ta", "ties", "lata_linear", "ta_norm_matched", "nothing"])
def test_what_tables_mark_against_decides_no_claim(baseline: str) -> None:
    truth = {**EQUAL, "lata_linear": (2.2, 0.6, 0.7, 0.5), "lata_log": (2.3, 0.5, 0.3, 0.6)}
    truth["ties"] = (2.2, 0.5, 0.5, 0.5)
    columns = ["claim", "verdict", "numbers", "detail"]
    first, other = (check_claims(learned(truth, baseline=name, items=120))[columns] for name in ("ta", baseline))
    pd.testing.assert_frame_equal(first, other)


def test_c7_is_inconclusive_without_a_gain_and_not_run_without_controls() -> None:
    assert c7(learned({**EQUAL, "ta": (2.2, 0.7, 0.7, 0.7)})).verdict == INCONCLUSIVE
    assert c7(learned({"ta": EQUAL["ta"], "lata_linear": (2.2, 0.7, 0.7, 0.7)})).verdict == NOT_RUN


def test_a_study_with_one_schedule_is_judged_by_it() -> None:
    truth = {name: skill for name, skill in EQUAL.items() if name != "lata_linear"}
    found = c1(learned({**truth, "lata_log": (2.2, 0.4, 0.4, 0.4)}, tasks=PPL, schedule={"learn": "lata_linear"}))
    assert found.verdict == SUPPORTED
    assert found.numbers.startswith("lata_log has the lower perplexity in 8 of 8")


def test_the_schedule_that_decides_is_named_by_the_study_and_the_others_stand_beside_it() -> None:
    truth = {**EQUAL, "lata_linear": (2.2, 0.4, 0.4, 0.4), "lata_log": (2.6, 0.4, 0.4, 0.4)}
    assert c1(learned(truth, tasks=PPL)).verdict == SUPPORTED
    log = c1(learned(truth, schedule={"learn": "lata_log"}, tasks=PPL))
    assert log.verdict == NOT_SUPPORTED
    assert any(line.startswith("lata_linear by the same rule: ") for line in log.detail)


VARIANT, RIVAL = "lata_linear(outside=drop)", "dare(drop_rate=0.9)"


@pytest.mark.parametrize("schedule", ["lata_linear", VARIANT])
def test_a_claim_takes_a_variant_only_by_its_name(schedule: str) -> None:
    """Beside the plain method, or alone as the study names it: text and verdict are of the row with that label."""
    better = {VARIANT: (2.2, 0.4, 0.4, 0.4)}
    truth = {name: skill for name, skill in EQUAL.items() if name != "dare"} | {RIVAL: EQUAL["dare"]} | better
    analysis = learned(truth, tasks=PPL, schedule={"learn": schedule})
    found = c1(analysis)
    assert found.verdict == (SUPPORTED if schedule == VARIANT else INCONCLUSIVE)
    assert found.numbers.startswith(f"{schedule} has the lower perplexity")
    assert f"ta, ties, {RIVAL} and dare_ties" in found.numbers
    assert any(f"{schedule} − {RIVAL}: " in line for line in found.detail)
    assert found.detail[-1].startswith("lata_linear" if schedule == VARIANT else VARIANT)


def test_a_method_that_stands_twice_under_other_names_is_missing() -> None:
    twice = {f"dare(drop_rate={rate})": EQUAL["dare"] for rate in (0.8, 0.9)}
    truth = {name: skill for name, skill in EQUAL.items() if name != "dare"} | twice
    found = c1(learned({**truth, "lata_linear": (2.2, 0.4, 0.4, 0.4)}, tasks=PPL))
    assert found.verdict == INCONCLUSIVE
    assert "missing: dare in math+code, dare in ua+math; so" in found.detail[-1]


@pytest.mark.parametrize(("of", "missing"), [("lata_log", False), ("lata_linear", True)])
def test_the_control_of_another_schedule_is_none(of: str, missing: bool) -> None:
    shuffled = "lata_shuffled" if of == "lata_linear" else f"lata_shuffled(of={of})"
    truth = {"ta": EQUAL["ta"], "lata_log": (2.2, 0.6, 0.6, 0.6), shuffled: EQUAL["ta"]}
    known: dict[str, dict[str, object]] = {"lata_log": {}, shuffled: {"of": of, "floor": 0.0}}
    analysis = learned(truth, schedule={"learn": "lata_log"})
    analysis.meta["methods"] = known
    found = c7(analysis)
    assert found.verdict == (NOT_RUN if missing else INCONCLUSIVE)
    assert missing or found.detail[-1] == "missing controls: depth_linear and ta_norm_matched"


def test_with_three_seeds_claims_are_about_trainings() -> None:
    found = learned({**EQUAL, "lata_linear": (2.2, 0.4, 0.4, 0.4)}, seeds=(0, 1, 2))
    assert c1(found).verdict == SUPPORTED
    assert "3 seeds: intervals and marks are over trainings" in claims_report(found.meta, 3, check_claims(found))


@pytest.mark.parametrize("methods", [("ta",), ("ties", "lata_log"), ("lata_threshold",)])
def test_every_claim_has_a_verdict_on_any_study(methods: tuple[str, ...]) -> None:
    table = check_claims(analyse(make_study(methods=methods, merges=("math+code",), forgets=(), items=20)))
    assert table["claim"].tolist() == ["C1", "C2", "C3", "C4", "C5", "C6", "C7"]
    assert set(table["verdict"]) <= {SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_RUN}
    assert (table["numbers"] != "").all()
