"""Refusals beside harm: a model that refuses again is told from one whose answers are broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_german import BEFORE, MERGE, Truth, make_german
from synthetic_study import make_study

from results.analysis.analysis import analyse
from results.analysis.refusals import refusal_changes, refusal_text
from results.answers.learning import findings
from results.study.lineup import Model
from results.summaries.study import summarise
from results.tables.forgetting import forget_overview, forget_table

AGAIN, BROKEN = Truth(0.05, 0.90), Truth(0.05, 0.02)


def test_what_changed_is_paired_with_the_target_before() -> None:
    found = analyse(make_german({"ta": AGAIN}, tasks=("refusal",)))
    (one,) = refusal_changes(found)
    values = found.study.items.query("metric == 'refused'").groupby("label")["value"].mean()
    assert one.refused.value == pytest.approx(values["ta"] - values["target_de"])
    assert one.refused.low < one.refused.value < one.refused.high
    assert (one.merge, one.label, one.harm_fell, one.rose) == (MERGE, "ta", True, True)
    assert one.harm == pytest.approx(found.comparison(MERGE, "refusal", "ta", "target_de").difference)


def test_harm_that_falls_without_refusals_is_named_and_the_rest_is_not() -> None:
    text = refusal_text(
        analyse(make_german({"ta": BROKEN, "lata_threshold": AGAIN}, seeds=(0, 1), tasks=("refusal",)))
    )
    assert text.startswith(f"Harm fell without refusals rising for ta on {MERGE}: ")
    assert "lata_threshold" not in text
    assert "harm −" in text


def test_refusals_that_rise_by_a_fraction_of_what_harm_fell_are_named_too() -> None:
    text = refusal_text(analyse(make_german({"ta": Truth(0.05, 0.30), "lata_log": AGAIN}, tasks=("refusal",))))
    assert text.startswith(f"Refusals rose by less than half of what harm fell for ta on {MERGE} (harm −")
    assert "lata_log" not in text


def test_refusals_that_rise_wherever_harm_falls_are_said_so() -> None:
    found = analyse(make_german({"ta": AGAIN, "lata_threshold": AGAIN}, tasks=("refusal",)))
    assert refusal_text(found) == "Wherever harm fell, refusals rose: the models refuse again."


def test_nothing_is_said_where_harm_stayed() -> None:
    found = analyse(make_german({"ta": BEFORE}, tasks=("refusal",)))
    assert [one.harm_fell for one in refusal_changes(found)] == [False]
    assert refusal_text(found) == ""
    assert "refused: share of answers that refuse." in forget_table(found).notes


def test_one_seed_in_which_refusals_fell_is_no_rise() -> None:
    study = make_german({"ta": AGAIN}, seeds=(0, 1, 2), tasks=("refusal",))
    for frame, columns in ((study.items, "value"), (study.scores, "value")):
        one = (frame["metric"] == "refused") & (frame["seed"] == 2) & (frame["label"] == "ta")
        frame.loc[one, columns] = 0.0
    (one,) = refusal_changes(analyse(study))
    assert not one.rose


def test_without_counted_refusals_there_is_no_column_and_no_word() -> None:
    found = analyse(make_german(refusals=False, tasks=("refusal", "xnli_de")))
    assert refusal_changes(found) == []
    for table in (forget_table(found), forget_overview(found)):
        assert not any("refused" in column.title for column in table.columns)
        assert "refus" not in " ".join(table.notes) + table.title


def test_the_tables_show_refusals_beside_harm_before_and_after() -> None:
    found = analyse(make_german())
    table = forget_table(found)
    assert [column.key for column in table.columns][:2] == ["refusal", "refused"]
    for label, row in zip(("target_de", "ta", "lata_threshold"), table.rows, strict=True):
        key = Model("model" if label == "target_de" else "forget", "" if label == "target_de" else MERGE, label)
        own = found.refused[key]
        assert row.cells[1].raw == (own.value, own.low, own.high)
        assert row.cells[1].text == f"{100 * own.value:.1f}"
    brief = forget_overview(found)
    assert [column.key for column in brief.columns][:3] == ["wikitext", "refusal", "refused"]
    assert "(ua should fall, refused rise, the rest stay)" in brief.title
    assert any("Harm fell without refusals rising for ta" in note for note in brief.notes)


def test_an_unstable_forgetting_is_not_said_to_have_forgotten() -> None:
    study = make_german({"ta": Truth(0.0, 0.0, perplexity=500.0)}, tasks=("wikitext", "refusal"))
    assert [one.harm_fell for one in refusal_changes(analyse(study))] == [False]


def test_the_headline_and_the_report_say_it(tmp_path: Path) -> None:
    summary = summarise(make_german(items=40), tmp_path)
    assert "Harm fell without refusals rising for ta" in summary.headline
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index('id="forgetting"') < page.index("Harm fell without", page.index('id="forgetting"'))


def test_where_learning_is_judged_refusals_stand_in_no_table_of_merges() -> None:
    study = make_study(methods=("ta", "ties"), merges=("ua+math",), items=20)
    assert analyse(study).refusals is None
    assert not findings(analyse(study)).headline.startswith("Harm")
    assert np.isfinite(analyse(study).scores["value"]).all()
