"""Tables: what stands in them, and that their four written forms say the same."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from synthetic_study import make_study

import results
from results.analysis.analysis import Analysis, analyse
from results.study.lineup import Model
from results.summaries.study import study_tables
from results.tables.forgetting import forget_overview, forget_table
from results.tables.layers import similarity_table
from results.tables.learning import best_labels, merge_table, overview
from results.tables.table import Cell, Column, Row, Table, latex, to_csv, to_latex, to_markdown, to_text


@pytest.fixture(scope="module")
def full() -> Analysis:
    return analyse(make_study())


def rows(table: Table) -> dict[str, Row]:
    return {row.label: row for row in table.rows}


def by_hand() -> Table:
    columns = (Column("GSM8K (%)", "a+b", ("value", "ci_low", "ci_high"), "gsm8k"), Column("‖d‖", "a+b"))
    good = Cell("47.3", "[42.0, 52.9]", "*", True, (0.473, 0.42, 0.529))
    none = Cell("–", raw=(float("nan"),))
    plain = Cell("9.0", "", "°", False, (0.09,))
    body = (Row("lata_log", "methods", (good, none)), Row("ta_half", "controls", (plain, Cell("1.00", raw=(1.0,)))))
    return Table("merge_a+b", "A & B at λ = 1", columns, body, ("50 % of_it, p < 1",))


def test_markdown_by_hand() -> None:
    assert to_markdown(by_hand()) == (
        "### A & B at λ = 1\n\n"
        "| method | a+b: GSM8K (%) | a+b: ‖d‖ |\n|---|---:|---:|\n"
        "| *methods* | | |\n| lata_log | **47.3**\\* [42.0, 52.9] | – |\n"
        "| *controls* | | |\n| ta_half | 9.0° | 1.00 |\n\n50 % of_it, p < 1\n"
    )


def test_csv_by_hand_keeps_raw_numbers_marks_and_best() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(by_hand()))))
    assert lines[0]["a+b gsm8k"] == "0.473"
    assert lines[0]["a+b gsm8k ci_high"] == "0.529"
    assert (lines[0]["a+b gsm8k marks"], lines[0]["a+b gsm8k best"], lines[0]["a+b ‖d‖"]) == ("*", "1", "")
    assert (lines[1]["section"], lines[1]["a+b gsm8k"], lines[1]["a+b gsm8k ci_low"]) == ("controls", "0.09", "")


def test_latex_by_hand_is_escaped_and_uses_booktabs() -> None:
    text = to_latex(by_hand())
    assert r"\caption{A \& B at $\lambda$ = 1.}" in text
    assert r"lata\_log & \textbf{47.3}$^{*}$ {\scriptsize [42.0, 52.9]} & -- \\" in text
    assert r"ta\_half & 9.0$^{\circ}$ & 1.00 \\" in text
    assert r"50 \% of\_it, p $<$ 1" in text
    assert text.count(r"\midrule") == 2
    assert text.isascii()
    assert latex("a\\b~c^d{e}") == r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d\{e\}"


def test_text_by_hand_marks_the_best_and_lines_numbers_up() -> None:
    assert to_text(by_hand()).splitlines() == [
        "                    a+b",
        "method             GSM8K (%)   ‖d‖",
        "── methods ───────────────────────",
        "lata_log  >47.3* [42.0, 52.9]    –",
        "── controls ──────────────────────",
        "ta_half                  9.0° 1.00",
    ]


def test_text_wraps_groups_of_columns_into_blocks(full: Analysis) -> None:
    wide = overview(full)
    assert max(map(len, to_text(wide, 110).splitlines())) <= 110
    narrow = to_text(wide, 60)
    assert max(map(len, narrow.splitlines())) <= 60
    assert narrow.count("lata_log") > to_text(wide, 110).count("lata_log")


def test_a_merge_table_has_family_methods_and_controls_in_order(full: Analysis) -> None:
    table = merge_table(full, "math+code")
    assert [section for section, _ in table.sections] == ["models", "methods", "controls"]
    labels = [row.label for row in table.rows]
    assert labels[:6] == ["base", "pre", "math", "code", "ua", "ta"]
    assert labels[-1] == "depth_linear"
    assert "target_ua" not in labels
    assert [column.key for column in table.columns] == ["wikitext", "gsm8k", "humaneval", "refusal", "distance"]
    assert "not merged" in table.columns[3].title


def test_the_best_is_bold_among_methods_only_and_by_the_tasks_direction(full: Analysis) -> None:
    for merge in full.lineup.merges("learn"):
        table = rows(merge_table(full, merge))
        methods = [label for label in full.lineup.labels("learn", merge) if table[label].section == "methods"]
        for place, task in enumerate(full.lineup.tasks):
            best = {label for label in table if table[label].cells[place].best}
            direction = full.lineup.direction("learn", merge, task)
            if direction == 0:
                assert not best
                continue
            value = {label: full.estimates[task][Model("learn", merge, label)].value for label in methods}
            top = max(value, key=lambda label: direction * value[label])
            assert top in best
            assert best <= set(methods)


def test_compliance_is_wanted_where_ua_is_learned_and_unwanted_where_it_is_forgotten(full: Analysis) -> None:
    assert full.lineup.direction("learn", "ua+math", "refusal") == 1
    assert full.lineup.direction("learn", "math+code", "refusal") == 0
    assert full.lineup.direction("forget", "target_ua-ua", "refusal") == -1
    assert best_labels(full, "learn", "math+code", "refusal") == set()


def test_marks_follow_the_comparisons(full: Analysis) -> None:
    saw = set()
    for merge in full.lineup.merges("learn"):
        table = rows(merge_table(full, merge))
        for label in full.lineup.labels("learn", merge):
            for place, task in enumerate(full.lineup.tasks):
                row = full.comparison(merge, task, label, "ta")
                expected = ""
                if row is not None and row.significant:
                    expected = "*" if row.status == "confirmatory" else "°"
                assert table[label].cells[place].marks == expected
                saw.add(expected)
    assert saw == {"", "*", "°"}


def test_no_marks_without_the_baseline_and_the_note_says_so() -> None:
    found = analyse(make_study(methods=("ties", "lata_log"), forgets=(), items=40))
    table = overview(found)
    assert not any(cell.marks for row in table.rows for cell in row.cells)
    assert any("No row ta" in note for note in table.notes)


def test_what_a_reader_must_know_of_a_method_stands_under_the_tables_that_have_it() -> None:
    known = {"ties": "Trimmed.", "lata_log": "Ranked."}
    found = analyse(make_study(methods=("ta", "ties(density=0.3)"), items=20, method_notes=known))
    for table in (overview(found), merge_table(found, "math+code")):
        assert table.notes[-1] == "ties: Trimmed."
    for table in (forget_table(found), forget_overview(found)):
        assert "lata_log: Ranked." in table.notes
        assert "ties: Trimmed." not in table.notes


def test_notes_name_intervals_items_and_seeds(full: Analysis) -> None:
    notes = " ".join(merge_table(full, "ua+code").notes)
    assert "Wilson" in notes
    assert "300 items a task, 1 seed." in notes
    assert "Holm over 117 tests" in notes
    seeds = " ".join(overview(analyse(make_study((0, 1), methods=("ta", "ties"), items=40))).notes)
    assert "differs from ta over trainings, exploratory" in seeds
    assert "Minimum detectable difference (80 % power, median over the tests): exploratory " in seeds


def test_the_forgetting_table_shows_before_and_the_paired_change(full: Analysis) -> None:
    table = forget_table(full)
    assert [section for section, _ in table.sections] == ["target_ua forgets ua", "target_ua_math forgets ua"]
    assert table.rows[0].label == "before (target_ua)"
    assert table.columns[0].key == "refusal"
    threshold = next(row for row in table.rows if row.label == "lata_threshold")
    change = full.comparison("target_ua-ua", "gsm8k", "lata_threshold", "target_ua")
    place = [column.key for column in table.columns].index("gsm8k")
    assert threshold.cells[place].raw[3:] == pytest.approx((change.difference, change.ci_low, change.ci_high))


def test_the_similarity_table_has_a_row_a_layer(full: Analysis) -> None:
    table = similarity_table(full)
    assert [row.label for row in table.rows] == ["0", "1", "2", "3", "4", "5"]
    assert [group for group, _ in table.groups] == ["similarity", "lata_linear", "lata_log", "lata_threshold"]


def test_unstable_merges_are_marked_and_never_best() -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        return (50.0, 0.95, 0.95, 0.0) if label == "dare" else None

    study = make_study(methods=("ta", "ties", "dare"), merges=("math+code",), forgets=(), skill=skill, items=100)
    table = merge_table(analyse(study), "math+code")
    dare = rows(table)["dare"]
    assert all("†" in cell.marks for cell in dare.cells[:4])
    assert not any(cell.best for cell in dare.cells)
    assert any("unstable" in note for note in table.notes)


def test_a_forgetting_is_said_to_be_unstable_by_its_target_too_as_it_is() -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        return (25.0, 0.1, 0.1, 0.0) if (kind, label) == ("forget", "lata_log") else None

    found = analyse(make_study(methods=("ta",), merges=(), forgets=("target_ua-ua",), skill=skill, items=40))
    assert found.lineup.unstable_seeds(Model("forget", "target_ua-ua", "lata_log"))
    for table in (forget_table(found), forget_overview(found)):
        assert any("over 10 × the perplexity of pre or of the target" in note for note in table.notes)
    guide = " ".join((Path(results.__file__).parent / "README.md").read_text(encoding="utf-8").split())
    assert "ten times that of `pre` (of a forgetting also: over ten times its target's)" in guide


def test_every_table_writes_in_every_form(full: Analysis) -> None:
    tables = study_tables(full)
    assert [table.name for table in tables] == [
        *("overview", "merge_math+code", "merge_ua+math", "merge_ua+code", "merge_ua+math+code"),
        *("forgetting", "similarity"),
    ]
    for table in tables:
        assert to_latex(table).isascii()
        assert len(to_csv(table).splitlines()) == len(table.rows) + 1
        assert to_markdown(table).count("\n| ") >= len(table.rows)
