"""Controls: those that a study names stand apart everywhere, however well they do; older studies name none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_study import make_study
from synthetic_sweep import Fall, Truth, make_forgetting, make_sweep

from results.analysis import Analysis, analyse
from results.claim_rules import NOT_RUN, SUPPORTED, c6
from results.compared_analysis import compared
from results.compared_answers import answers
from results.compared_tables import methods_table
from results.figure_cd import critical_difference_diagram
from results.figure_panel import styles_of
from results.figure_style import COLOURS
from results.findings import findings
from results.lineup import CONTROLS, controls_of
from results.pooled import pool
from results.ranks import ranking
from results.stored import as_sweep
from results.sweep_analysis import SweepAnalysis, analyse_sweep
from results.sweep_findings import sweep_findings
from results.sweep_tables import chosen_table
from results.tables import best_labels, merge_table, overview

OWN, SHUFFLED = "lata_squared", "lata_shuffled(of=lata_log)"
LABELS = ("ta", "lata_log", SHUFFLED, OWN)
NAMED = [OWN, SHUFFLED]


def ahead(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
    """The study's own control is better than every method."""
    return (2.1, 0.8, 0.8, 0.8) if label == OWN else None


@pytest.fixture(scope="module")
def study() -> Analysis:
    merges = ("math+code", "ua+code")
    return analyse(make_study(methods=LABELS, merges=merges, forgets=(), items=80, skill=ahead, controls=NAMED))


@pytest.fixture(scope="module")
def sweep() -> SweepAnalysis:
    truth = {"ta": Truth(9.0, 0.8, 0.4), "lata_log": Truth(9.0, 0.8, 0.5), OWN: Truth(0.9, 0.6, 0.9)}
    return analyse_sweep(make_sweep(truth, (0.4, 0.8, 1.2), items=40, noise=0, controls=[OWN]))


def test_a_control_that_the_study_names_stands_below_the_methods_and_is_never_bold(study: Analysis) -> None:
    assert study.lineup.labels("learn") == list(LABELS)
    assert [study.lineup.group_of(label) for label in LABELS] == ["baseline", "lata", "control", "control"]
    for table in (merge_table(study, "math+code"), overview(study)):
        below = {row.label: row for row in table.rows if row.section == "controls"}
        assert list(below) == [SHUFFLED, OWN]
        assert not any(cell.best for row in below.values() for cell in row.cells)
    assert best_labels(study, "learn", "math+code", "gsm8k") == {"lata_log"}


def test_a_control_that_the_study_names_is_what_the_best_method_must_survive(study: Analysis) -> None:
    told = findings(study)
    assert told.answers[0].short == "lata_log"
    assert told.answers[3].text.startswith(f"Against the best control, {OWN} (")
    rows = study.comparisons[(study.comparisons["a"] == "lata_log") & (study.comparisons["b"] == OWN)]
    assert set(rows["status"]) == {"exploratory"}


def test_a_control_that_the_study_names_is_neither_ranked_nor_best_among_runs(study: Analysis) -> None:
    made = compared(as_sweep(study.study), "ta")
    assert made.methods == ("ta", "lata_log")
    assert answers(made)[0].short == "lata_log"
    assert f"the control {OWN} stands higher" in answers(made)[0].text
    assert [row.label for row in methods_table(made).rows if row.section == "controls"] == [SHUFFLED, OWN]


def test_figures_draw_a_control_that_the_study_names_as_one(study: Analysis) -> None:
    labels = [*LABELS, *(f"ties(density=0.{digit})" for digit in range(1, 5))]
    shown = styles_of(labels, study.lineup)
    assert shown[OWN] == shown[SHUFFLED] != shown["lata_log"]
    cells = [("math+code", task) for task in ("wikitext", "gsm8k", "humaneval")]
    drawn = critical_difference_diagram(ranking(study, LABELS, cells), study.lineup)
    assert drawn is not None
    colours = [line.get_color() for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
    assert colours.count(COLOURS["control"]) == 2


def test_a_sweep_leaves_a_control_that_it_names_out_of_what_is_best_and_of_what_breaks(sweep: SweepAnalysis) -> None:
    bold = {row.label for row in chosen_table(sweep).rows if any(cell.best for cell in row.cells)}
    assert bold == {"lata_log"}
    assert OWN not in sweep_findings(sweep).answers[0].text
    swept = replace(sweep.chosen, scores=sweep.scores)
    assert c6(swept).verdict != SUPPORTED
    alone = make_sweep({OWN: Truth(0.9, 0.6, 0.9)}, (0.4, 0.8, 1.2), items=12, noise=0, controls=[OWN])
    assert analyse_sweep(alone).claims.set_index("claim").loc["C6", "verdict"] == NOT_RUN


def test_a_control_that_forgets_is_no_answer() -> None:
    truth = {"ta": Fall(0.8, 0.2), OWN: Fall(0.9, 0.0)}
    found = analyse_sweep(make_forgetting(truth, (0.6, 1.2), items=30, noise=0.0, controls=[OWN]))
    assert "with ta" in sweep_findings(found).answers[0].short
    assert OWN not in sweep_findings(found).answers[0].text


def test_a_study_that_does_not_say_which_has_the_controls_of_this_suite() -> None:
    older = analyse(make_study(methods=("ta", OWN, "ta_half"), merges=("math+code",), forgets=(), items=20))
    assert [older.lineup.group_of(label) for label in ("ta", OWN, "ta_half")] == ["baseline", "baseline", "control"]
    assert controls_of({}) == CONTROLS
    assert controls_of({"controls": []}) == ()


def test_pooled_runs_have_the_controls_and_the_notes_of_each() -> None:
    truth = {"ta": Truth(9.0, 0.8, 0.4), "ta_half": Truth(9.0, 0.8, 0.3)}
    older = make_sweep(truth, (0.8,), items=12)
    known = {"controls": [OWN], "method_notes": {OWN: "Squared ranks."}}
    newer = make_sweep({"ta": truth["ta"], OWN: Truth(9.0, 0.8, 0.9)}, (0.8,), items=12, **known)
    made = compared(pool({"older": older, "newer": newer}), "ta")
    assert methods_table(made).notes[-1] == f"{OWN}: Squared ranks."
    assert made.methods == ("ta",)
    assert made.labels == ("ta", "ta_half", OWN)
