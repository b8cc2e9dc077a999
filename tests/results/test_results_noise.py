"""The noise floor of repeated evaluations, by hand, and what comparisons do with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_study import make_study

from eval.schema import ITEM_COLUMNS
from results.analysis.analysis import analyse
from results.statistics.noise import COLUMNS, noise_floor, primary_floors


def items(
    task: str, metric: str, filter_: str, values: list[float], weights: list[float] | None = None
) -> pd.DataFrame:
    weights = weights or [1.0] * len(values)
    rows = [
        (task, metric, filter_, "test", f"{i}", "", value, weight)
        for i, (value, weight) in enumerate(zip(values, weights, strict=True))
    ]
    return pd.DataFrame(rows, columns=list(ITEM_COLUMNS))


def answers(*values: float) -> pd.DataFrame:
    return items("gsm8k", "exact_match", "strict-match", list(values))


def test_noise_floor_of_a_rate_by_hand() -> None:
    # 2/4, 3/4 and 2/4 right; the second and third run differ in three items of four
    table = noise_floor([answers(1, 0, 0, 1), answers(1, 1, 0, 1), answers(0, 0, 1, 1)])
    (row,) = table.itertuples(index=False)
    assert tuple(table.columns) == COLUMNS
    assert (row.n, row.repeats, row.value_low, row.value_high, row.noise_floor) == (4, 3, 0.5, 0.75, 0.25)
    assert (row.changed, row.item_range) == (0.75, 1.0)
    assert row.changed_high == pytest.approx(stats.binomtest(3, 4).proportion_ci(method="wilson").high)
    assert primary_floors(table) == {"gsm8k": 0.25}


def test_noise_floor_of_perplexity_and_bits_is_in_the_metrics_own_unit() -> None:
    weights = [10.0, 30.0]
    first, second = ([-20.0, -60.0], [-20.0, -64.0])
    for metric, expected in (("word_perplexity", np.exp(2.1) - np.exp(2)), ("bits_per_byte", 0.1 / np.log(2))):
        runs = [items("wikitext", metric, "none", values, weights) for values in (first, second)]
        (row,) = noise_floor(runs).itertuples(index=False)
        assert row.noise_floor == pytest.approx(expected)
        assert (row.changed, row.item_range) == (0.5, 4.0)


def test_the_floor_of_a_study_is_a_share_of_a_perplexity() -> None:
    both = ([-20.0, -60.0], [-20.0, -64.0])
    runs = [items("wikitext", "word_perplexity", "none", values, [10.0, 30.0]) for values in both]
    assert primary_floors(noise_floor(runs)) == {"wikitext": pytest.approx(np.exp(0.1) - 1)}


def test_equal_evaluations_have_a_floor_of_zero_and_a_bound_on_what_may_change() -> None:
    runs = [answers(*[1.0] * 300)] * 2
    (row,) = noise_floor(runs).itertuples(index=False)
    assert (row.noise_floor, row.changed) == (0, 0)
    assert 0 < row.changed_high < 0.02


def test_items_are_matched_by_name_not_by_place() -> None:
    run = answers(1, 0, 1)
    (row,) = noise_floor([run, run.iloc[::-1]]).itertuples(index=False)
    assert row.changed == 0


def test_a_single_evaluation_or_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two evaluations"):
        noise_floor([answers(1, 0)])
    with pytest.raises(ValueError, match="gsm8k exact_match strict-match test: the evaluations have different items"):
        noise_floor([answers(1, 0), answers(1, 0, 1)])
    with pytest.raises(ValueError, match="different items"):
        noise_floor([answers(1, 0), answers(1, 0).iloc[:0]])


def test_a_difference_within_the_noise_floor_is_not_significant() -> None:
    plain = analyse(make_study(methods=("ta", "lata_linear"), merges=("math+code",), forgets=())).comparisons
    assert plain["noise_floor"].isna().all()
    assert plain["significant"].any()
    floor = 1.01 * float(plain["difference"].abs().max())
    study = make_study(
        methods=("ta", "lata_linear"),
        merges=("math+code",),
        forgets=(),
        noise_floor=dict.fromkeys(plain["task"].unique(), floor),
    )
    found = analyse(study).comparisons
    assert found["noise_floor"].to_numpy() == pytest.approx(floor)
    assert not found["significant"].any()
    same = [column for column in plain.columns if column not in ("noise_floor", "significant")]
    pd.testing.assert_frame_equal(found[same], plain[same])
