"""Kinds of metrics and tasks: shares beside rates, and any task of the schema in tables, figures and comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from synthetic_german import MERGE, TASKS, make_german

from eval.schema import METRICS, PRIMARY
from results.analysis.analysis import Analysis, analyse
from results.statistics.noise import noise_floor
from results.study.lineup import SHORT, Model, short_of
from results.study.wording import difference, heading_of, in_percent, number
from results.summaries.study import summarise
from results.tables.forgetting import forget_overview, forget_table
from results.tables.learning import base_notes
from results.tables.published import COLUMNS, load

SHARES = ("xquad_de", "truthfulqa_de_mc2")


@pytest.fixture(scope="module")
def german() -> Analysis:
    return analyse(make_german())


def test_shares_are_read_in_per_cent_as_rates_are() -> None:
    for task in SHARES:
        assert METRICS[task, PRIMARY[task][0]].kind == "share"
        assert (number(task, 0.4567), difference(task, -0.0123)) == ("45.7", "−1.2")
        assert heading_of(task).endswith(" (%)")
    assert [in_percent(task) for task in ("gsm8k", "wikitext")] == [True, False]
    assert heading_of("wikitext") == "WikiText-2 word ppl"


def test_every_task_of_the_schema_has_a_heading_and_a_short_one() -> None:
    for task in PRIMARY:
        assert heading_of(task)
        assert short_of(task) == SHORT.get(task, task)


def test_tasks_stand_in_the_order_of_the_schema(german: Analysis) -> None:
    assert german.lineup.tasks == sorted(TASKS, key=list(PRIMARY).index)
    assert list(german.measures) == german.lineup.tasks


def test_the_interval_of_a_share_is_the_bootstraps_and_near_the_t_interval(german: Analysis) -> None:
    for task in SHARES:
        found = german.estimates[task][Model("model", "", "target_de")]
        items = german.study.items.query("task == @task and label == 'target_de'")["value"].to_numpy()
        half = t.ppf(0.975, len(items) - 1) * items.std(ddof=1) / np.sqrt(len(items))
        assert found.value == pytest.approx(items.mean())
        assert (found.low, found.high) == pytest.approx((items.mean() - half, items.mean() + half), abs=0.15 * half)
        assert not german.measures[task].grid.binary


def test_a_share_whose_items_are_all_0_or_1_is_still_none_of_right_and_wrong() -> None:
    study = make_german(tasks=("refusal", "xquad_de"))
    share = study.items["task"] == "xquad_de"
    study.items.loc[share, "value"] = study.items.loc[share, "value"].round()
    means = study.items[share].groupby(["label", "task"])["value"].mean()
    rows = study.scores["task"] == "xquad_de"
    study.scores.loc[rows, "value"] = [means[row.label, row.task] for row in study.scores[rows].itertuples()]
    found = analyse(study)
    assert not found.measures["xquad_de"].grid.binary
    assert found.comparison(MERGE, "xquad_de", "ta", "target_de").test == "t over items"


def test_mcnemar_is_for_rates_alone_and_utility_that_is_kept_for_shares_too() -> None:
    german = analyse(make_german(utility_margin=0.15))
    tests = {task: german.comparison(MERGE, task, "ta", "target_de") for task in TASKS}
    assert tests["xnli_de"].test == tests["refusal"].test == "McNemar exact"
    for task in SHARES:
        assert tests[task].test == "t over items"
        assert tests[task].p_not_worse > 0.9  # utility was halved
        same = german.comparison(MERGE, task, "lata_threshold", "target_de")
        assert same.p_not_worse < 0.01
    assert np.isnan(tests["wikitext"].p_not_worse)


def test_the_forgetting_table_has_the_change_of_every_stock_task(german: Analysis) -> None:
    table = forget_table(german)
    assert [column.title for column in table.columns] == [
        *("harm: Compliance (%)", "refused (%)", "WikiText-2 word ppl"),
        *("XQuAD de F1 (%)", "XNLI de (%)", "TruthfulQA de MC2 (%)", "‖merged − target‖"),
    ]
    place = [column.key for column in table.columns].index("xquad_de")
    row = german.comparison(MERGE, "xquad_de", "ta", "target_de")
    ta = next(one for one in table.rows if one.label == "ta")
    assert ta.cells[place].raw[3:] == pytest.approx((row.difference, row.ci_low, row.ci_high))
    brief = forget_overview(german)
    assert [column.title for column in brief.columns] == ["ppl", "ua", "refused", *TASKS[2:]]
    assert "bootstrap for shares" in base_notes(german)[0]


@pytest.mark.draws
def test_a_study_of_stock_tasks_is_written_with_all_its_files(tmp_path: Path) -> None:
    summary = summarise(make_german(seeds=(0, 1), items=30), tmp_path)
    names = {file.name for file in summary.files}
    assert {"forgetting.md", "forgetting.svg", "report.html"} <= names
    assert max(map(len, summary.table.splitlines())) <= 110
    assert "TruthfulQA de MC2" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_noise_floor_of_a_share_is_that_of_its_mean() -> None:
    part = make_german(items=10, tasks=("xquad_de",)).items.query("label == 'pre'")
    moved = part.assign(value=part["value"] + 0.01)
    assert noise_floor([part, moved])["noise_floor"].item() == pytest.approx(0.01)


def test_published_shares_are_given_in_per_cent(tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS, "x") | {
        "task": "xquad_de",
        "metric": "f1",
        "value": "45.7",
        "unit": "%",
        "lambda": "1",
    }
    pd.DataFrame([row]).to_csv(tmp_path / "numbers.csv", index=False)
    assert load(tmp_path / "numbers.csv")["value"].item() == pytest.approx(0.457)
    pd.DataFrame([{**row, "unit": "ppl"}]).to_csv(tmp_path / "numbers.csv", index=False)
    with pytest.raises(ValueError, match="does not fit f1, a share"):
        load(tmp_path / "numbers.csv")
