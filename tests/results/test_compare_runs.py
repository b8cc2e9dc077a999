"""A whole comparison: the answers on sweeps of known truth, what is written, what is said where something lacks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_study import make_study
from synthetic_sweep import Truth, make_sweep
from test_results_study import Checked, digests

from results.analysis.comparison import check_runs, compared
from results.analysis.outcomes import COLUMNS, record
from results.answers.comparison import answers
from results.figures.critical_difference import critical_difference_diagram
from results.statistics.ranks import Ranking, critical_difference, friedman, groups
from results.study.store import as_sweep
from results.study.sweep import Sweep
from results.summaries.comparison import ComparedSummary, compare_runs

#: One that is better than the baseline, one that is the baseline again, one that breaks at every λ.
KNOWN = {
    "ta": Truth(6.0, 0.8, 0.5),
    "ties": Truth(6.0, 0.8, 0.5),
    "dare": Truth(0.3, 0.8, 0.9),
    "lata_log": Truth(9.0, 0.8, 0.85),
}
LAMBDAS = (0.4, 0.8, 1.2)


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return make_sweep(KNOWN, LAMBDAS, seeds=(0, 1), merges=("math+code", "ua+math"), items=80)


@pytest.fixture(scope="module")
def summary(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> ComparedSummary:
    return compare_runs(sweep, "ta", tmp_path_factory.mktemp("out"), every_lambda=True)


@pytest.fixture(scope="module")
def out(summary: ComparedSummary) -> Path:
    return next(file for file in summary.files if file.name == "report.html").parent


def test_the_headline_names_the_best_method_by_how_much_and_that_it_is_more_than_noise(
    summary: ComparedSummary,
) -> None:
    which, much, noise = re.split(r"\n(?=[BM])", summary.headline)
    assert which.startswith("Which method is best? lata_log has the highest mean over the 4 merged-task scores")
    assert re.search(r"Over ta that is \+\d+\.\d points \[\+", much)
    assert re.search(r"ta is the runner-up|runner-up ties \+\d", " ".join(much.split()))
    equal = re.search(r"equally far from pre, on average over the common range, (\S+) points", " ".join(much.split()))
    assert equal
    assert float(equal[1]) > 10
    assert "the lead over ta is more than noise over trainings" in " ".join(noise.split()).lower()
    assert "dare is unstable" in " ".join(which.split())


def test_an_unstable_method_loses_everywhere_is_last_and_has_no_mean(sweep: Sweep, summary: ComparedSummary) -> None:
    rows = summary.rows[summary.rows["at"] == "chosen"]
    assert record(rows, "dare") == (0, 0, 6)
    assert rows.loc[rows["a"] == "dare", ["difference", "p", "value_a"]].isna().all(axis=None)
    made = compared(sweep, "ta")
    assert made.ranking is not None
    assert made.ranking.labels[-1] == "dare"
    assert made.ranking.mean_K[-1] == 4
    assert "dare" not in made.scores
    assert {label for _, label in made.broken} == {"dare"}


def test_a_method_that_is_the_baseline_again_ties_and_a_better_one_wins(summary: ComparedSummary) -> None:
    rows = summary.rows[summary.rows["at"] == "chosen"]
    assert record(rows, "ties")[1] >= 5
    wins, _, losses = record(rows, "lata_log")
    assert wins >= 3
    assert losses == 0


def test_an_unstable_baseline_loses_to_every_stable_method(sweep: Sweep) -> None:
    made = compared(sweep, "dare")
    for label in ("ta", "ties", "lata_log"):
        assert record(made.at_chosen(), label) == (6, 0, 0)
    found = answers(made)
    assert found[0].short == "lata_log"
    assert "dare is unstable in a merge" in found[1].text


def test_holm_is_over_the_family_of_this_comparison(summary: ComparedSummary) -> None:
    rows = summary.rows[summary.rows["at"] == "chosen"]
    family = rows[(rows["outcome"] != "") & rows["p"].notna()]
    assert len(family) == 2 * 6  # two stable methods, three scores in each of two merges
    lowest = family["p"].idxmin()
    assert family.loc[lowest, "p_corrected"] == pytest.approx(min(1, len(family) * family.loc[lowest, "p"]))
    assert rows.loc[rows["outcome"] == "", "p_corrected"].isna().all()
    assert set(rows.loc[rows["a"] == "lata_log", "status"]) == {"confirmatory"}
    assert set(rows.loc[rows["a"] == "ties", "status"]) == {"exploratory"}


def test_every_lambda_compares_at_each_one_that_both_have(summary: ComparedSummary) -> None:
    assert list(summary.rows.columns) == list(COLUMNS)
    rows = summary.rows[(summary.rows["at"] == "0.8") & (summary.rows["a"] == "ties")]
    assert (rows["point_a"] == "0.8").all()
    assert (rows["point_b"] == "0.8").all()
    assert set(summary.rows["at"]) == {"chosen", "0.4", "0.8", "1.2"}


@pytest.mark.draws
def test_everything_is_written_and_the_same_each_time(sweep: Sweep, out: Path, tmp_path: Path) -> None:
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names >= {
        *("comparisons.csv", "ranks.csv", "pareto.csv", "hypervolume.csv", "matched.csv", "report.html"),
        *("tables/methods.md", "tables/ranks.tex", "tables/hypervolume.csv", "tables/merge_math+code.md"),
        *("figures/pareto.svg", "figures/pareto.png", "figures/critical_difference.svg"),
    }
    compare_runs(sweep, "ta", tmp_path, every_lambda=True)
    assert digests(tmp_path) == digests(out)


def test_pareto_csv_marks_unstable_points_and_gives_them_no_score(out: Path) -> None:
    points = pd.read_csv(out / "pareto.csv", dtype={"point": str})
    broken = points[(points["label"] == "dare") & (points["point"] != "0")]
    assert broken["unstable"].all()
    assert broken["score"].isna().all()
    assert not points.loc[points["label"] == "ta", "unstable"].any()
    assert (points[points["point"] == "0"]["distance"] == 0).all()


def test_the_page_is_whole_and_answers_first(out: Path) -> None:
    text = (out / "report.html").read_text()
    page = Checked()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") for link in page.links)
    assert text.index("Which method is best?") < text.index("More than noise?") < text.index("<table>")


@pytest.mark.draws
def test_runs_with_one_lambda_have_everything_but_fronts_and_say_why(tmp_path: Path) -> None:
    study = make_study(items=60, methods=("ta", "ties", "lata_log", "ta_half"), merges=("math+code", "ua+code"))
    made = compare_runs(as_sweep(study), "ta", tmp_path)
    names = {file.name for file in made.files}
    assert "comparisons.csv" in names
    assert "critical_difference.svg" in names
    assert not names & {"pareto.csv", "hypervolume.csv", "matched.csv", "pareto.svg"}
    assert "need at least 3 λ of a method; these runs have fewer" in " ".join(made.table.split())
    assert "need at least 3 λ of a method" in (tmp_path / "report.html").read_text()


def test_controls_are_compared_but_neither_ranked_nor_best() -> None:
    study = make_study(items=60, methods=("ta", "lata_log", "ta_half"), merges=("math+code",), forgets=())
    made = compared(as_sweep(study), "ta")
    assert made.methods == ("ta", "lata_log")
    assert sum(record(made.at_chosen(), "ta_half")) == 3
    assert answers(made)[0].short in ("ta", "lata_log")
    assert compared(as_sweep(study), "ta_half").methods == ("ta", "lata_log", "ta_half")


def test_ranks_and_means_are_over_what_all_methods_share() -> None:
    sweep = make_sweep({name: KNOWN[name] for name in ("ta", "ties", "lata_log")}, (0.8,), seeds=(0, 1), items=60)
    missing = {"seed": 1, "label": "ties"}

    def without(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[~((frame["seed"] == missing["seed"]) & (frame["label"] == missing["label"]))]

    part = replace(sweep, scores=without(sweep.scores), items=without(sweep.items), choices=without(sweep.choices))
    made = compared(part, "ta")
    assert made.seeds == (0,)
    assert "seed 0" in made.absent["seeds"]
    assert set(made.scores) == {"ta", "ties", "lata_log"}
    rows = made.at_chosen()
    assert set(rows.loc[rows["a"] == "lata_log", "seeds"]) == {2}  # pairs keep the seeds that both have
    assert set(rows.loc[rows["a"] == "ties", "seeds"]) == {1}


def test_merges_without_the_baseline_are_left_out_with_a_note() -> None:
    two = {"ta": KNOWN["ta"], "ties": KNOWN["ties"]}
    sweep = make_sweep(two, (0.8,), merges=("math+code", "ua+math"), items=40)

    def without(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[~((frame["merge"] == "ua+math") & (frame["label"] == "ta"))]

    part = replace(sweep, scores=without(sweep.scores), items=without(sweep.items), choices=without(sweep.choices))
    made = compared(part, "ta")
    assert made.merges == ["math+code"]
    assert made.absent["merges"] == "ua+math: left out, for no run has ta there."


def test_what_cannot_be_compared_is_refused_in_one_line(sweep: Sweep) -> None:
    alone = make_sweep({"ties": KNOWN["ties"]}, (0.8,), merges=("ua+code",), items=20)
    with pytest.raises(ValueError, match=r"baseline 'tas' is not one of ta, ties, dare, lata_log; did you mean ta\?"):
        check_runs({"runs/a": sweep}, "tas")
    with pytest.raises(
        ValueError, match=r"runs/b has no ta, and no other run has it on the same merges \(ua\+code\)"
    ):
        check_runs({"runs/a": sweep, "runs/b": alone}, "ta")
    with pytest.raises(ValueError, match="ties is the only method"):
        check_runs({"runs/b": alone}, "ties")


def test_methods_at_different_lambdas_that_were_fixed_by_hand_carry_a_warning() -> None:
    sweep = make_sweep({"ta": KNOWN["ta"], "lata_log": KNOWN["lata_log"]}, (0.4, 0.8), items=40)
    apart = sweep.choices.assign(selection="fixed", point=["0.4", "0.8"])
    assert "λ, fixed by hand (0.4, 0.8)" in compared(replace(sweep, choices=apart), "ta").absent["lambda"]
    alike = apart.assign(point="0.8")
    assert "lambda" not in compared(replace(sweep, choices=alike), "ta").absent


def test_a_null_is_called_no_more_than_noise() -> None:
    same = Truth(6.0, 0.8, 0.5)
    called = 0
    for seed in range(4):
        sweep = make_sweep({"ta": same, "ties": same, "dare": same}, (0.8,), seeds=(seed,), items=60)
        made = compared(sweep, "ta")
        called += answers(made)[2].good is True
        wins, _, losses = (sum(record(made.at_chosen(), name)[i] for name in ("ties", "dare")) for i in range(3))
        assert wins + losses <= 1
    assert called <= 1


def test_the_diagram_joins_what_is_closer_than_the_critical_difference() -> None:
    rng = np.random.default_rng(0)
    ranks = np.stack([stats.rankdata(row) for row in rng.normal(np.arange(6), 0.8, size=(30, 6))]).T
    mean = np.sort(ranks.mean(1))
    critical = critical_difference(6, 30)
    labels = ("ta", "ties", "dare", "lata_log", "lata_linear", "ta_half")
    cells = tuple(("m", str(i)) for i in range(30))
    made = Ranking(labels, cells, ranks, mean, mean, mean, friedman(ranks), critical, groups(mean, critical))
    assert len(made.groups) >= 2
    lineup = compared(as_sweep(make_study(items=20, methods=labels, merges=("math+code",), forgets=())), "ta").lineup
    drawn = critical_difference_diagram(made, lineup)
    assert drawn is not None
    figure, caption = drawn
    bars = [line for line in figure.axes[0].lines if line.get_linewidth() > 3]
    assert len(bars) == len(made.groups)
    spans = [(line.get_xdata()[0] + 0.04, line.get_xdata()[1] - 0.04) for line in bars]
    assert np.allclose(spans, [(mean[a], mean[b]) for a, b in made.groups])
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert f"CD = {critical:.2f}" in texts
    assert all(any(label in text for text in texts) for label in labels)
    assert "30 cells" in caption
    assert critical_difference_diagram(None, lineup) is None
