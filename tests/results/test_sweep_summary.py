"""The door of a sweep: what is written, what it says, and that odd sweeps work."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_sweep import METHODS, Truth, make_sweep

from eval.schema import SCORE_COLUMNS
from results.analysis.analysis import SweepAnalysis, analyse_sweep
from results.answers.sweep import sweep_findings
from results.claims.registry import check_sweep
from results.study.lineup import Model
from results.study.sweep import Sweep
from results.summaries.study import Summary
from results.summaries.sweep import summarise_sweep, sweep_figures, sweep_tables
from results.tables.points import grid_table, points_table
from results.tables.sweep import chosen_table


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return make_sweep(seeds=(0, 1, 2), shift=0.08, items=60)


@pytest.fixture(scope="module")
def found(sweep: Sweep) -> SweepAnalysis:
    return analyse_sweep(sweep)


@pytest.fixture(scope="module")
def summary(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise_sweep(sweep, tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def grid() -> SweepAnalysis:
    return analyse_sweep(make_sweep(per_task=True, lambdas=(0.3, 0.9, 1.5), items=40))


def folder(summary: Summary) -> Path:
    return next(file for file in summary.files if file.name == "report.html").parent


def digests(path: Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_everything_promised_is_written(summary: Summary) -> None:
    names = set(digests(folder(summary)))
    assert {"scores.parquet", "scores.csv", "comparisons.csv", "choices.csv", "claims.md", "report.html"} <= names
    for table in ("breaks", "chosen", "points_math+code", "chosen_math+code"):
        assert {f"tables/{table}.{kind}" for kind in ("md", "tex", "csv")} <= names
    for figure in ("lambda_math+code", "pareto", "critical_difference"):
        assert {f"figures/{figure}.{kind}" for kind in ("svg", "png")} <= names
    assert {str(file.relative_to(folder(summary))) for file in summary.files} == names


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


def test_every_score_of_both_splits_is_kept_with_its_interval(sweep: Sweep, summary: Summary) -> None:
    scores = pd.read_parquet(folder(summary) / "scores.parquet")
    assert tuple(scores.columns) == SCORE_COLUMNS
    assert len(scores) == len(sweep.scores)
    finite = scores[np.isfinite(scores["value"])]
    assert (finite["ci_low"] <= finite["value"] + 1e-9).all()
    assert (finite["value"] <= finite["ci_high"] + 1e-9).all()
    names = ["seed", "kind", "merge", "label", "point", "task", "metric", "filter", "split"]
    both = sweep.scores.merge(scores, on=names, suffixes=("", "_written"))
    assert len(both) == len(scores)
    assert np.allclose(both["value"], both["value_written"])
    assert (both["unstable"] == both["unstable_written"]).all()


def test_a_point_has_the_interval_that_a_study_at_that_point_gives_it(found: SweepAnalysis) -> None:
    for (merge, label), curve in found.curves.items():
        chosen = set(found.choices[merge, label].chosen.values())
        if len(chosen) > 1:
            continue
        place = curve.points.index(str(chosen.pop()))
        for task in ("wikitext", "gsm8k", "humaneval"):
            assert curve.estimates[task][place] == found.chosen.estimates[task][Model("learn", merge, label)]


def test_the_terminal_text_fits_and_names_every_method(summary: Summary) -> None:
    assert max(map(len, summary.table.splitlines())) <= 110
    assert all(method in summary.table for method in METHODS)
    assert "stable to 2" in summary.table


@pytest.mark.parametrize(
    ("selection", "said"),
    [("fixed", "λ is set beforehand"), ("metagpt", "λ is from the norms of the task vectors")],
)
def test_a_lambda_that_no_score_chose_is_not_said_to_be_chosen(
    sweep: Sweep, found: SweepAnalysis, selection: str, said: str
) -> None:
    table = chosen_table(replace(found, sweep=replace(sweep, meta={**sweep.meta, "selection": selection})))
    assert table.notes[0].startswith(said)
    assert "development" not in table.title + table.notes[0]


def test_a_task_without_a_development_split_is_named(sweep: Sweep, found: SweepAnalysis) -> None:
    table = chosen_table(replace(found, sweep=replace(sweep, meta={**sweep.meta, "development": ["gsm8k"]})))
    assert "without humaneval, where there is no such split" in table.notes[0]


def test_the_headline_says_where_methods_break_and_which_is_best(summary: Summary) -> None:
    assert summary.headline.startswith("Perplexity passes ten times pre’s on math+code at λ = ")
    assert "for dare" in summary.headline
    assert "lata_log stays below it to 2" in summary.headline
    assert "before lata_log" in summary.headline
    assert "At its own λ lata_log has the highest mean" in summary.headline
    assert "the choice on the development split loses" in summary.headline


def test_the_first_screen_holds_the_answers_before_anything_else(summary: Summary) -> None:
    page = (folder(summary) / "report.html").read_text()
    order = ['class="answers"', 'id="breaks"', 'id="chosen"', 'id="curves"', 'id="fronts"', 'id="C1"', 'id="points"']
    places = [page.index(mark) for mark in order]
    assert places == sorted(places)
    assert "Miniature models, not the paper’s" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_unstable_points_are_marked_and_never_best(found: SweepAnalysis) -> None:
    table = points_table(found, "math+code")
    head = [column.title for column in table.columns].index("norm. (%)")
    for row in table.rows:
        if row.section == "ta" and float(row.label.split()[0]) >= 1.4:
            assert all("†" in cell.marks for cell in row.cells[:-1])
            assert not any(cell.best for cell in row.cells)
    best = [row.label for row in table.rows if row.section == "lata_log" and row.cells[head].best]
    assert len(best) == 1


def test_an_unstable_seed_is_not_averaged_in(found: SweepAnalysis) -> None:
    curve = found.curves["math+code", "ta"]
    place = next(p for p in range(len(curve.points)) if 0 < curve.unstable_PS[p].sum() < 3)
    stable = curve.stable_PS[place]
    one = curve.estimates["gsm8k"][place]
    assert one is not None
    assert one.value == pytest.approx(curve.scored["gsm8k"].value_PS[place][stable].mean())
    assert one.seeds == int(stable.sum())


def test_c6_is_decided_by_all_points_and_the_others_at_lambda_one(found: SweepAnalysis) -> None:
    claims = check_sweep(found).set_index("claim")
    assert claims.loc["C6", "verdict"] == "supported"
    assert "the first is dare on math+code at λ = 1" in claims.loc["C6", "numbers"]
    assert found.fixed is not None
    assert set(found.fixed.scores["lambda"].dropna()) == {1.0}


def test_claims_at_lambda_one_are_not_run_where_methods_have_other_lambdas() -> None:
    truth = {"ta": Truth(2, 0.4), "ties": Truth(2, 0.8), "dare": Truth(2, 0.8), "lata_linear": Truth(2, 0.8)}
    found = analyse_sweep(make_sweep(truth, (0.4, 0.8), items=20))
    assert found.fixed is None
    claims = check_sweep(found).set_index("claim")["verdict"]
    assert claims[["C1", "C2", "C6"]].tolist() == ["not run"] * 3


@pytest.mark.draws
def test_a_grid_of_one_lambda_a_task_gives_a_heat_map_and_a_table(grid: SweepAnalysis) -> None:
    figures = sweep_figures(grid)
    assert "heat_math+code" in figures
    assert "lambda_math+code" not in figures
    table = grid_table(grid, "math+code")
    assert table is not None
    assert len(table.rows) == 3 * len(METHODS)
    row = next(row for row in table.rows if row.section == "lata_log" and row.label == "0.9")
    curve = grid.curves["math+code", "lata_log"]
    place = curve.points.index("code=0.9,math=0.3")
    assert row.cells[0].raw[0] == curve.estimates["normalised"][place].value  # type: ignore[union-attr]
    chosen = [cell for row in table.rows for cell in row.cells if cell.aside == "chosen"]
    assert len(chosen) == len(METHODS)
    assert sweep_findings(grid).answers[0].short == "not answerable"


@pytest.mark.draws
def test_three_tasks_give_a_panel_for_each_pair_and_a_block_for_each_further_lambda() -> None:
    truth = {"ta": Truth(1.1, 0.6), "lata_log": Truth(9, 0.9)}
    found = analyse_sweep(make_sweep(truth, (0.4, 0.8), merges=("ua+math+code",), per_task=True, items=20))
    table = grid_table(found, "ua+math+code")
    assert table is not None
    assert [section for section, _ in table.sections] == [
        f"{label}, λ of ua {lam}" for label in truth for lam in (0.4, 0.8)
    ]
    assert b"code" in sweep_figures(found)["heat_ua+math+code"][1]


@pytest.mark.draws
def test_points_of_a_search_are_drawn_as_dots() -> None:
    sweep = make_sweep({"ta": Truth(1.4, 0.6)}, (0.21, 0.42, 0.63, 0.84, 1.05), per_task=True, items=20)
    keep = {"", "code=0.21,math=0.63", "code=0.42,math=0.21", "code=0.63,math=1.05", "code=1.05,math=0.84"}
    scores, items = (frame[frame["point"].isin(keep)] for frame in (sweep.scores, sweep.items))
    choices = sweep.choices.assign(point="code=0.42,math=0.21", selection="search")
    found = analyse_sweep(replace(sweep, scores=scores, items=items, choices=choices))
    assert grid_table(found, "math+code") is None
    assert "heat_math+code" in sweep_figures(found)


def test_a_method_that_is_nowhere_stable_has_no_choice_and_no_mean() -> None:
    truth = {"ta": Truth(0.1, 0.6), "lata_log": Truth(9, 0.9)}
    found = analyse_sweep(make_sweep(truth, items=20))
    table = chosen_table(found, brief=True)
    row = next(row for row in table.rows if row.label == "ta")
    assert row.cells[0].text == "none"
    assert {cell.text for cell in row.cells[1:]} == {"–"}
    assert "for 1 nothing was stable" in sweep_findings(found).answers[3].text
    assert found.breaks["math+code", "ta"].peak is None


def test_without_an_experts_score_the_plain_mean_decides() -> None:
    sweep = make_sweep({"ta": Truth(1.1, 0.6), "lata_log": Truth(9, 0.9)}, items=20)
    keep = sweep.scores["label"] != "code"
    small = replace(sweep, scores=sweep.scores[keep], items=sweep.items[sweep.items["label"] != "code"])
    found = analyse_sweep(small)
    assert found.objective == "mean"
    table = chosen_table(found)
    assert "norm." not in [column.title for column in table.columns]
    assert any("No normalised scores" in note for note in table.notes)
    assert "No normalised scores" in " ".join(sweep_tables(found)[2].notes)


def test_a_run_that_scored_the_chosen_points_alone_is_summarised(tmp_path: Path) -> None:
    sweep = make_sweep(items=20)
    chosen = dict(zip(sweep.choices["label"], sweep.choices["point"], strict=True))

    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        at = frame["label"].map(chosen)
        return frame[(frame["split"] == "dev") | (frame["kind"] == "model") | (frame["point"] == at)]

    summary = summarise_sweep(replace(sweep, scores=kept(sweep.scores), items=kept(sweep.items)), tmp_path)
    assert "The test split was scored at the chosen λ alone" in summary.headline
    assert not (tmp_path / "tables" / "breaks.md").exists()
