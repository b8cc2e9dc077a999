"""The door of a sweep that forgets: what is written, what it says, and that odd sweeps work."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_sweep import FALLS, Fall, make_forgetting, make_sweep, together

from results.analysis.analysis import SweepAnalysis, analyse_sweep
from results.answers.sweep import sweep_findings
from results.claims.registry import check_sweep
from results.pages.report import sweep_report
from results.study.lineup import Lineup
from results.study.sweep import Sweep
from results.summaries.study import Summary
from results.summaries.sweep import summarise_sweep, sweep_tables
from results.tables.chosen_harm import chosen_harm_table, harm_points_table
from results.tables.harm import harm_table
from results.tables.table import Row, Table, to_csv

MERGE = "target_l2-ua"
LAMBDAS = (0.4, 0.8, 1.0, 1.4, 1.8, 2.0)
FEW = (0.8, 1.6)
METHODS = {**FALLS, "lata_linear": Fall(0.5, 0.1, 1.3), "lata_log": Fall(0.6, 0.04, refusing=0.05)}


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return make_forgetting(METHODS, LAMBDAS, seeds=(0, 1), shift=0.05, items=50)


@pytest.fixture(scope="module")
def found(sweep: Sweep) -> SweepAnalysis:
    return analyse_sweep(sweep)


@pytest.fixture(scope="module")
def summary(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise_sweep(sweep, tmp_path_factory.mktemp("forgetting"))


def folder(summary: Summary) -> Path:
    return next(file for file in summary.files if file.name == "report.html").parent


def digests(path: Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def row_of(table: Table, label: str) -> Row:
    return next(row for row in table.rows if row.label == label)


def cell(table: Table, label: str, key: str) -> str:
    place = next(i for i, column in enumerate(table.columns) if (column.key or column.title) == key)
    return row_of(table, label).cells[place].plain


def test_everything_promised_is_written_and_nothing_of_learning(summary: Summary) -> None:
    names = set(digests(folder(summary)))
    for table in ("harm", "chosen_forgetting", f"points_{MERGE}"):
        assert {f"tables/{table}.{kind}" for kind in ("md", "tex", "csv")} <= names
    assert {f"figures/harm_{MERGE}.svg", f"figures/harm_{MERGE}.png"} <= names
    assert {"claims.md", "choices.csv", "scores.parquet"} <= names
    assert not {"tables/breaks.md", "tables/chosen.md", "figures/pareto.svg"} & names


@pytest.mark.draws
def test_the_same_sweep_gives_the_same_bytes_in_whatever_order_its_rows_stand(
    sweep: Sweep, summary: Summary, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    shuffled = replace(
        sweep,
        scores=sweep.scores.iloc[rng.permutation(len(sweep.scores))].reset_index(drop=True),
        items=sweep.items.iloc[rng.permutation(len(sweep.items))].reset_index(drop=True),
    )
    summarise_sweep(shuffled, tmp_path)
    assert digests(tmp_path) == digests(folder(summary))


def test_the_first_sentence_says_at_which_lambda_harm_is_gone_and_at_what_cost(summary: Summary) -> None:
    first = summary.headline.split(". ")[0]
    assert summary.headline.startswith("Harm falls to 10 % on target_l2 at λ = ")
    assert "with ta (mean utility −" in summary.headline
    assert "but few answers that stopped complying became refusals" in summary.headline
    assert "learn" not in first
    assert "forgetting (claim C3) is" in summary.headline
    assert "Harm fell without refusals rising for lata_log" in summary.headline


def test_the_answer_is_the_cheapest_method_that_forgets_with_whole_answers(found: SweepAnalysis) -> None:
    answer, _, how = sweep_findings(found).answers
    assert "with lata_threshold: mean utility" in answer.short
    assert "bring development harm to the threshold" in how.text


def test_no_method_that_gets_there_is_said_so() -> None:
    truth = {"ta": Fall(0.3), "lata_log": Fall(0.05)}
    told = sweep_findings(analyse_sweep(make_forgetting(truth, FEW, items=20, noise=0.0)))
    assert told.answers[0].short == "at none, up to λ = 1.6"
    assert told.answers[0].good is False
    assert told.headline.startswith("Harm falls to 10 % on target_l2 with no method up to λ = 1.6 (lowest with ta, ")


HARMLESS = {"ta": Fall(0.01, 0.0, before=0.04), "lata_threshold": Fall(0.01, 0.1, before=0.04)}


def test_a_target_that_was_harmless_before_is_no_success() -> None:
    found = analyse_sweep(make_forgetting(HARMLESS, FEW, items=50, noise=0.0))
    table = harm_table(found)
    for label in HARMLESS:
        assert cell(table, label, "λ") == "before"
        assert cell(table, label, "there") == cell(table, label, "perplexity ratio") == "–"
        assert cell(chosen_harm_table(found), label, "under the threshold") == "before"
        assert cell(chosen_harm_table(found), label, "kept") == "–"
    assert cell(table, "ta", "minus lata_threshold") == "–"
    written = list(csv.DictReader(to_csv(table).splitlines()))
    assert {row["harm at 10 % λ"] for row in written} == {""}
    for one in (table, chosen_harm_table(found)):
        assert any(note.startswith("before: the target is harmless already") for note in one.notes)
    passing, decided = sweep_findings(found).answers[:2]
    assert (passing.short, passing.good) == ("nothing to forget", None)
    assert passing.text.startswith("target_l2 with harm at 4.0 % [")
    assert passing.text.endswith(" was harmless already: it has nothing to forget.")
    assert decided.short == "not run"
    assert check_sweep(found).set_index("claim").loc["C3", "verdict"] == "not run"


def test_the_answer_is_about_the_targets_that_had_something_to_forget() -> None:
    harmful = make_forgetting(lambdas=FEW, items=30)
    harmless = make_forgetting(HARMLESS, FEW, targets=("target_ja",), items=30, noise=0.0)
    both = together(harmful, harmless)
    meta = {**both.meta, "forgets": {**harmful.meta["forgets"], **harmless.meta["forgets"]}}
    found = analyse_sweep(replace(both, meta=meta))
    answer = sweep_findings(found).answers[0]
    alone = sweep_findings(analyse_sweep(harmful)).answers[0]
    assert answer.short == alone.short
    assert answer.text.startswith(alone.text)
    assert "target_ja with harm at 3.3 % [" in answer.text
    assert "harmless already" not in alone.text


def test_the_first_screen_holds_the_answers_before_anything_else(summary: Summary) -> None:
    page = (folder(summary) / "report.html").read_text()
    order = ['class="answers"', 'id="harm"', 'id="chosen_forgetting"', 'id="curves"', 'id="C3"', 'id="points"']
    places = [page.index(mark) for mark in order]
    assert places == sorted(places)
    assert "1 forgetting × 5 methods" in page
    assert "6 λ from 0.4 to 2" in page
    assert "Harm is gone" in page
    assert "Breaks</dt>" not in page


def test_the_terminal_text_fits_and_names_every_method(summary: Summary) -> None:
    assert max(map(len, summary.table.splitlines())) <= 110
    assert all(method in summary.table for method in METHODS)
    assert "‡" in summary.table


def test_crossings_where_the_model_breaks_are_marked_and_explained(found: SweepAnalysis) -> None:
    table = harm_table(found)
    marks = {row.label: row.cells[2].marks for row in table.rows}
    assert marks["lata_linear"] == "†"
    assert marks["lata_log"] == "‡"
    assert marks["ta"] == marks["lata_threshold"] == ""
    notes = " ".join(table.notes)
    assert "† at an unstable point or beyond one" in notes
    assert "‡ less than half of the answers" in notes
    assert cell(table, "lata_linear", "from λ").startswith("1.4 (")


def test_the_table_of_harm_is_measured_from_the_named_schedule(sweep: Sweep, found: SweepAnalysis) -> None:
    table = harm_table(found)
    assert [column.title for column in table.columns].count("− lata_threshold") == 2
    assert cell(table, "lata_threshold", "minus lata_threshold") == "–"
    assert cell(table, "ta", "minus lata_threshold").startswith("−")
    study = replace(found.chosen.study, meta={**sweep.meta, "schedule": {"forget": "lata_linear"}})
    named = replace(found, chosen=replace(found.chosen, study=study, lineup=Lineup(study)))
    assert "− lata_linear" in [column.title for column in harm_table(named).columns]


def test_two_methods_that_do_not_get_there_in_all_seeds_are_not_set_against_one_another() -> None:
    truth = {"lata_threshold": Fall(0.30, 0.02), "lata_log": Fall(0.33, 0.1), "ta": Fall(0.8, 0.2)}
    table = harm_table(analyse_sweep(make_forgetting(truth, FEW, seeds=(0, 1, 2), shift=0.15, items=40)))
    assert all(cell(table, label, "λ").startswith("≥ ") for label in ("lata_threshold", "lata_log"))
    assert cell(table, "lata_log", "minus lata_threshold") == "–"
    assert cell(table, "ta", "minus lata_threshold").startswith("≤ −")
    written = {row["method"]: row for row in csv.DictReader(to_csv(table).splitlines())}
    assert written["lata_log"]["harm at 10 % minus lata_threshold"] == ""
    for label in ("lata_log", "ta"):  # utility was read at the threshold for one of them at most
        assert cell(table, label, "change minus lata_threshold") == "–"
        assert written[label]["mean utility (%) change minus lata_threshold"] == ""


def test_what_a_reader_must_know_of_a_method_stands_under_every_table_of_it(sweep: Sweep) -> None:
    known = {"safety_arithmetic": "Only its first stage.", "absent": "Nobody asked."}
    found = analyse_sweep(replace(sweep, meta={**sweep.meta, "method_notes": known}))
    tables = sweep_tables(found)
    assert [table.name for table in tables] == ["harm", "chosen_forgetting", f"points_{MERGE}"]
    for table in tables:
        assert table.notes[-1] == "safety_arithmetic: Only its first stage."
        assert not any("Nobody" in note for note in table.notes)
    assert not any("first stage" in note for table in sweep_tables(analyse_sweep(sweep)) for note in table.notes)


def test_the_csv_holds_every_number_of_a_crossing(found: SweepAnalysis) -> None:
    head, first = list(csv.reader(to_csv(harm_table(found)).splitlines()))[:2]
    row = dict(zip(head, first, strict=True))
    passage = found.forgettings[MERGE, "ta"].passage
    assert passage is not None
    assert float(row["harm at 10 % λ"]) == pytest.approx(passage.crossing.value)
    change = passage.there["mean"].change
    assert float(row["mean utility (%) there change"]) == pytest.approx(change.value)
    assert float(row["mean utility (%) there change_ci_low"]) == pytest.approx(change.low)


def test_the_table_of_choices_decides_as_claim_c3_does() -> None:
    """A method that forgets for nothing, one that never does, and one that pays."""
    truth = {"ta": Fall(0.9, 0.3), "lata_log": Fall(0.1, 0.0), "lata_threshold": Fall(0.9, 0.0)}
    found = analyse_sweep(make_forgetting(truth, (0.6, 1.0), items=150, noise=0.0))
    table = chosen_harm_table(found)
    assert {label: cell(table, label, "under the threshold") for label in truth} == {
        **{"ta": "yes", "lata_log": "no", "lata_threshold": "yes"}
    }
    assert {label: cell(table, label, "kept") for label in truth} == {
        **{"ta": "no", "lata_log": "yes", "lata_threshold": "yes"}
    }
    chosen = dict(zip(found.sweep.choices["label"], found.sweep.choices["point"], strict=True))
    assert {label: row_of(table, label).cells[0].text for label in truth} == chosen
    assert row_of(table, "before (target_l2)").cells[1].text == "90.0"
    assert "(0.0 [0.0, 0.0])" in cell(table, "lata_threshold", "mean")


def test_every_point_stands_in_the_table_of_points_and_the_target_once(found: SweepAnalysis) -> None:
    table = harm_points_table(found, MERGE)
    assert len(table.rows) == 1 + len(LAMBDAS) * len(METHODS)
    assert table.rows[0].label == "0 (target_l2)"
    assert [column.title for column in table.columns][:3] == [
        *("harm: Compliance (%)", "refused (%)", "WikiText-2 word ppl")
    ]
    broken = [row for row in table.rows if row.section == "lata_linear" and float(row.label.split()[0]) >= 1.4]
    assert all("†" in one.marks for row in broken for one in row.cells[:-1])
    assert sum("(chosen" in row.label for row in table.rows) >= len(METHODS)


def test_a_point_has_the_interval_that_a_study_at_that_point_gives_it(found: SweepAnalysis) -> None:
    estimates = found.fixed.estimates if found.fixed else {}
    for (_, label), one in found.forgettings.items():
        place = one.curve.points.index("1")
        for task in ("wikitext", "gsm8k", "refusal"):
            study = next(value for key, value in estimates[task].items() if key.label == label)
            assert one.curve.estimates[task][place] == study


def test_one_utility_task_needs_no_mean() -> None:
    found = analyse_sweep(make_forgetting(lambdas=FEW, items=20, tasks=1))
    assert "GSM8K (%)" in [column.group for column in harm_table(found).columns]
    titles = [column.title for column in chosen_harm_table(found).columns]
    assert "mean" not in titles
    assert "math" in titles
    assert "GSM8K" in sweep_findings(found).headline


def two_harms(tasks: int) -> SweepAnalysis:
    """One target forgets ua, the other math: the harm of one is a utility of the other."""
    truth = {"ta": Fall(0.5, 0.5), "lata_threshold": Fall(0.1, 0.45)}
    made = make_forgetting(truth, (0.8, 1.6), targets=("target_l2", "target_math"), items=50, noise=0.0, tasks=tasks)
    forgets = {**made.meta["forgets"], "target_math-ua": {"target": "target_math", "forget": "math"}}
    return analyse_sweep(replace(made, meta={**made.meta, "forgets": forgets}))


def test_the_cost_is_that_of_the_forgettings_own_utility_and_never_of_its_harm() -> None:
    found = two_harms(tasks=1)
    text = sweep_findings(found).answers[0].text
    _, of_math = text.split("on target_math")
    for label in ("ta", "lata_threshold"):
        passage = found.forgettings["target_math-ua", label].passage
        assert passage is not None
        change = passage.there["refusal"].change.value
        assert f"with {label} (Compliance −{abs(100 * change):.1f} points" in of_math
        assert not passage.broken  # answers that no longer solve a problem need not refuse
    assert "GSM8K" not in of_math
    assert sweep_findings(found).answers[0].short == "ta and lata_threshold at the least cost"
    notes = " ".join(harm_table(two_harms(tasks=2)).notes)
    assert "Utility: mean of GSM8K, XQuAD de F1 where target_l2 forgets ua; of " in notes
    assert "Compliance" in notes.split("; of ")[1]


def test_a_method_whose_utility_was_not_read_is_never_the_cheapest() -> None:
    made = make_forgetting({"ta": Fall(0.8, 0.1), "lata_threshold": Fall(0.9)}, FEW, items=30, tasks=1)

    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame["label"] != "lata_threshold") | (frame["task"] != "gsm8k")]

    found = analyse_sweep(replace(made, scores=kept(made.scores), items=kept(made.items)))
    assert all(one.passage is not None and one.passage.clean for one in found.forgettings.values())
    assert "with ta: GSM8K −" in sweep_findings(found).answers[0].short


def test_a_sweep_without_a_utility_task_still_says_where_harm_is_gone() -> None:
    found = analyse_sweep(make_forgetting(lambdas=FEW, items=20, tasks=0))
    assert cell(harm_table(found), "ta", "there") == "–"
    assert not any(note.startswith("Utility") for note in harm_table(found).notes)
    assert cell(chosen_harm_table(found), "ta", "kept") == "–"
    assert "at λ = " in sweep_findings(found).headline


def test_refusals_that_were_not_counted_are_named() -> None:
    truth = {label: replace(one, refusing=None) for label, one in FALLS.items()}
    table = harm_table(analyse_sweep(make_forgetting(truth, FEW, items=20)))
    assert "refused (change)" not in [column.title for column in table.columns]
    assert any("Refusals were not counted" in note for note in table.notes)


def test_a_sweep_that_learns_and_forgets_is_told_in_this_order() -> None:
    both = together(make_sweep(lambdas=(0.6, 1.0, 1.6), items=20), make_forgetting(lambdas=(0.8, 1.0, 1.6), items=20))
    found = analyse_sweep(both)
    told, tables = sweep_findings(found), sweep_tables(found)
    assert told.headline.startswith("Perplexity passes ten times pre’s on math+code")
    assert told.headline.index("Harm falls to 10 %") > told.headline.index("the choice on the development split")
    names = [table.name for table in tables]
    assert names[:4] == ["breaks", "chosen", "harm", "chosen_forgetting"]
    assert {"points_math+code", f"points_{MERGE}", "chosen_math+code"} <= set(names)
    chosen = next(table for table in tables if table.name == "chosen")
    page = sweep_report(found, told.answers, check_sweep(found), tables, {}, chosen)
    assert "1 merge × 4 methods" in page
    assert "1 forgetting × 4 methods" in page
    claims = check_sweep(found).set_index("claim")["verdict"]
    assert claims["C6"] == "supported"
    assert claims["C3"] != "not run"


def test_c3_is_decided_at_the_chosen_lambda_where_only_learning_was_swept_at_one() -> None:
    both = together(make_sweep(lambdas=(0.8, 1.0), items=30), make_forgetting(lambdas=FEW, items=30))
    found = analyse_sweep(both)
    assert found.fixed is not None
    chosen = dict(zip(both.choices["label"], both.choices["point"], strict=True))["lata_threshold"]
    assert f"lata_threshold at λ = {chosen} meets" in check_sweep(found).set_index("claim").loc["C3", "numbers"]
    assert set(found.fixed.scores.loc[found.fixed.scores["kind"] == "learn", "lambda"]) == {1.0}


def test_several_targets_stand_apart_and_many_are_told_briefly() -> None:
    targets = ("target_zh", "target_ja", "target_de")
    found = analyse_sweep(make_forgetting(lambdas=FEW, targets=targets, items=20))
    assert [section for section, _ in harm_table(found).sections] == [f"{target} forgets ua" for target in targets]
    text = sweep_findings(found).answers[0].text
    assert all(f"on {target} at λ = " in text for target in targets)
    assert "more reach" in text


def test_a_run_that_scored_the_chosen_points_alone_is_summarised(tmp_path: Path) -> None:
    sweep = make_forgetting(lambdas=FEW, items=20)
    chosen = dict(zip(sweep.choices["label"], sweep.choices["point"], strict=True))

    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        at = frame["label"].map(chosen)
        return frame[(frame["split"] == "dev") | (frame["kind"] == "model") | (frame["point"] == at)]

    summary = summarise_sweep(replace(sweep, scores=kept(sweep.scores), items=kept(sweep.items)), tmp_path)
    assert summary.headline.startswith("Harm falls to 10 %")
    assert (tmp_path / "tables" / "harm.md").exists()


def test_a_method_that_is_nowhere_stable_has_no_choice() -> None:
    found = analyse_sweep(make_forgetting({"ta": Fall(0.8, breaks=0.1), "lata_log": Fall(0.8)}, FEW, items=20))
    table = chosen_harm_table(found)
    assert row_of(table, "ta").cells[0].text == "none"
    assert {one.text for one in row_of(table, "ta").cells[1:]} == {"–"}
    assert "for 1 nothing was stable" in sweep_findings(found).answers[-1].text
    assert harm_table(found).rows[0].cells[2].marks == "†"


def test_a_lambda_that_was_set_beforehand_is_not_said_to_be_chosen(sweep: Sweep, found: SweepAnalysis) -> None:
    fixed = replace(found, sweep=replace(sweep, meta={**sweep.meta, "selection": "fixed"}))
    assert chosen_harm_table(fixed).notes[0].startswith("λ is set beforehand")
    assert "development" not in sweep_findings(fixed).answers[-1].text
