"""Controls: those that a study names stand apart everywhere, however well they do; older studies name none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_study import make_study
from synthetic_sweep import Fall, Truth, make_forgetting, make_sweep

from results.analysis.analysis import Analysis, SweepAnalysis, analyse, analyse_sweep
from results.analysis.comparison import compared
from results.answers.comparison import answers
from results.answers.learning import findings
from results.answers.sweep import sweep_findings
from results.claims.registry import check_sweep
from results.claims.stability import c6
from results.claims.verdicts import NOT_RUN, SUPPORTED
from results.figures.critical_difference import critical_difference_diagram
from results.figures.drawing import COLOURS
from results.figures.panel import styles_of
from results.statistics.ranks import ranking
from results.study.run import Study
from results.study.store import as_sweep
from results.study.union import pool
from results.tables.comparison import methods_table
from results.tables.learning import best_labels, merge_table, overview
from results.tables.sweep import chosen_table

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
    drawn = critical_difference_diagram(ranking(study.lineup, study.measures, LABELS, cells), study.lineup)
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
    assert check_sweep(analyse_sweep(alone)).set_index("claim").loc["C6", "verdict"] == NOT_RUN


def test_a_control_that_forgets_is_no_answer() -> None:
    truth = {"ta": Fall(0.8, 0.2), OWN: Fall(0.9, 0.0)}
    found = analyse_sweep(make_forgetting(truth, (0.6, 1.2), items=30, noise=0.0, controls=[OWN]))
    assert "with ta" in sweep_findings(found).answers[0].short
    assert OWN not in sweep_findings(found).answers[0].text


def test_the_group_and_the_order_of_a_method_are_those_of_its_registration() -> None:
    rows = ("ta_half", OWN, "lata_log", "ta")
    groups = {"ta": "baseline", "lata_log": "lata", OWN: "lata", "ta_half": "control"}
    made = analyse(make_study(methods=rows, merges=("math+code",), forgets=(), items=20, groups=groups))
    assert made.lineup.labels("learn") == ["ta", "lata_log", OWN, "ta_half"]
    assert {label: made.lineup.group_of(label) for label in rows} == groups
    family = made.comparisons[made.comparisons["status"] == "confirmatory"]
    assert set(family["a"]) == {"lata_log", OWN}
    unknown = analyse(make_study(methods=("ta_half", OWN, "ta"), merges=("math+code",), forgets=(), items=20))
    assert unknown.lineup.labels("learn") == ["ta", OWN, "ta_half"]
    assert unknown.lineup.group_of(OWN) == "baseline"


DROPPED = ("ta(outside=drop)", "lata_log(outside=drop)")


def known(*labels: str, **meta: object) -> Study:
    """A study of one merge that says what each row's ``outside`` is."""
    made = make_study(methods=labels, merges=("math+code",), forgets=(), items=40, **meta)
    methods = {label: {"outside": "drop" if label in DROPPED else "keep"} for label in labels}
    return replace(made, meta={**made.meta, "methods": methods})


def test_rows_of_another_outside_are_controls_and_no_part_of_the_confirmatory_family() -> None:
    rows = ("ta", "ties", "lata_log")
    study, without = analyse(known(*rows, *DROPPED, controls=[*DROPPED])), analyse(known(*rows, controls=[]))
    assert study.lineup.labels("learn") == [*rows, *sorted(DROPPED)]
    assert [study.lineup.group_of(label) for label in DROPPED] == ["control", "control"]
    assert study.lineup.named("learn", "ta") == "ta"
    family, alone = (one.comparisons[one.comparisons["status"] == "confirmatory"] for one in (study, without))
    assert set(family["a"]) == {"lata_log"}
    assert set(family["b"]) == {"ta", "ties"}
    assert family["p_corrected"].tolist() == alone["p_corrected"].tolist()
    asked = {frozenset(pair) for pair in study.comparisons[["a", "b"]].itertuples(index=False)}
    assert {frozenset(("lata_log", label)) for label in DROPPED} <= asked


@pytest.mark.parametrize(
    ("share", "labels", "rows"),
    [
        (0.5, ("ta", "ties", "lata_log"), "ta and lata_log"),
        (0.5, ("ta", "lata_log", DROPPED[0]), "lata_log"),
        (0.5, ("ta", "lata_log", *DROPPED), None),
        (0.01, ("ta", "lata_log"), None),
        (None, ("ta", "lata_log"), None),
    ],
)
def test_a_note_names_the_rows_that_would_show_what_lies_outside_the_blocks(
    share: float | None, labels: tuple[str, ...], rows: str | None
) -> None:
    made = known(*labels)
    if share is not None:
        beyond = made.similarity["task"].map({"math": share, "code": 0.0, "ua": 0.9})
        made = replace(made, similarity=made.similarity.assign(outside=beyond))
    notes = [note for note in merge_table(analyse(made), "math+code").notes if "Outside the blocks lies" in note]
    assert len(notes) == (rows is not None)
    if rows is not None:
        assert "Outside the blocks lies 50 % (math) of ‖τ‖²" in notes[0]
        assert notes[0].endswith(f"the other one for {rows}.")


def test_pooled_runs_have_the_controls_and_the_notes_of_each() -> None:
    truth = {"ta": Truth(9.0, 0.8, 0.4), "ta_half": Truth(9.0, 0.8, 0.3)}
    older = make_sweep(truth, (0.8,), items=12)
    known = {"controls": [OWN], "method_notes": {OWN: "Squared ranks."}}
    newer = make_sweep({"ta": truth["ta"], OWN: Truth(9.0, 0.8, 0.9)}, (0.8,), items=12, **known)
    made = compared(pool({"older": older, "newer": newer}), "ta")
    assert methods_table(made).notes[-1] == f"{OWN}: Squared ranks."
    assert made.methods == ("ta",)
    assert made.labels == ("ta", "ta_half", OWN)


def test_runs_of_before_every_method_had_an_outside_pool_with_those_that_keep_it() -> None:
    truth = {"ta": Truth(9.0, 0.8, 0.4)}
    made = make_sweep(truth, (0.8,), items=12)
    known: list[dict[str, str]] = [{}, {"outside": "keep"}, {"outside": "drop"}]
    older, keeping, dropping = (replace(made, meta={**made.meta, "methods": {"ta": own}}) for own in known)
    assert pool({"older": older, "newer": keeping}).meta["methods"] == {"ta": {"outside": "keep"}}
    with pytest.raises(ValueError, match=r"method ta is \{\} in one and \{'outside': 'drop'\} in the other"):
        pool({"older": older, "newer": dropping})
