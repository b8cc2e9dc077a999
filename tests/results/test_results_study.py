"""The whole door: what is written, that it is the same each time, and that partial studies work."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from synthetic_study import METHODS, make_study

from eval.schema import SCORE_COLUMNS
from results.analysis.analysis import analyse
from results.answers.learning import findings
from results.summaries.study import Study, Summary, summarise

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use", "rect", "circle", "line"}


class Checked(HTMLParser):
    """Reads a page, remembers identifiers and links, and that every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._attributes(attrs)

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("href", "src", "xlink:href"):
                self.links.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def written(summary: Summary, name: str) -> Path:
    return next(file for file in summary.files if file.name == name)


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study((0, 1, 2))


@pytest.fixture(scope="module")
def summary(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(study, tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def out(summary: Summary) -> Path:
    return written(summary, "report.html").parent


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_everything_promised_is_written_and_nothing_half_written_is_left(summary: Summary, out: Path) -> None:
    names = set(digests(out))
    assert {"scores.parquet", "scores.csv", "comparisons.csv", "claims.md", "report.html"} <= names
    for table in ("overview", "merge_math+code", "forgetting", "similarity"):
        assert {f"tables/{table}.md", f"tables/{table}.tex", f"tables/{table}.csv"} <= names
    for figure in ("similarity", "scores", "tradeoff", "forgetting"):
        assert {f"figures/{figure}.svg", f"figures/{figure}.png"} <= names
    assert not [name for name in names if Path(name).name.startswith(".")]
    assert all(path.is_file() for path in summary.files)


@pytest.mark.draws
def test_the_same_study_gives_the_same_bytes(study: Study, out: Path, tmp_path: Path) -> None:
    summarise(study, tmp_path)
    assert digests(tmp_path) == digests(out)


def test_the_score_files_hold_the_schema_and_agree(summary: Summary, study: Study) -> None:
    parquet = pd.read_parquet(written(summary, "scores.parquet"))
    text = pd.read_csv(written(summary, "scores.csv"))
    assert tuple(parquet.columns) == SCORE_COLUMNS
    assert list(text.columns) == list(parquet.columns)
    assert len(parquet) == len(study.scores)
    assert np.allclose(parquet["ci_low"], text["ci_low"])


def test_the_terminal_text_fits_and_names_every_method(summary: Summary) -> None:
    assert max(map(len, summary.table.splitlines())) <= 110
    assert all(method in summary.table for method in METHODS)


def test_the_headline_answers_the_four_questions(summary: Summary) -> None:
    assert summary.headline.startswith("lata_log has the highest mean over the 9 merged-task scores")
    for part in ("Over ta that is +", "runner-up", "80 % power", "best control"):
        assert part in summary.headline


def test_the_report_is_one_sound_page_without_outside_resources(summary: Summary) -> None:
    text = written(summary, "report.html").read_text()
    page = Checked()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    referred = re.findall(r"url\(#([^)]*)\)", text)
    assert set(referred) <= set(page.ids)
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.search(r"https?://|<script|@import|<link", outside)
    words = " ".join(page.text)
    assert "Miniature models, not the paper’s." in words
    assert "python -m experiments.reproduce" in words


def test_the_warning_about_miniatures_is_for_miniatures_alone(tmp_path: Path) -> None:
    small = make_study(methods=("ta", "ties"), merges=("math+code",), forgets=(), items=20, family="gemma2_2b")
    assert "Miniature" not in written(summarise(small, tmp_path), "report.html").read_text()


def test_names_are_escaped_in_the_report(tmp_path: Path) -> None:
    study = make_study(methods=("ta",), merges=("math+code",), forgets=(), items=20, title="<b>a & b</b>")
    text = written(summarise(study, tmp_path), "report.html").read_text()
    assert "&lt;b&gt;a &amp; b&lt;/b&gt;" in text
    assert "<b>a &" not in text


def test_figures_are_sound_and_carry_no_date(out: Path) -> None:
    for path in (out / "figures").glob("*.svg"):
        text = path.read_text()
        ElementTree.fromstring(text)
        assert "<dc:date>" not in text
    for path in (out / "figures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "partial",
    [
        {"forgets": ()},
        {"merges": ()},
        {"merges": (), "forgets": ()},
        {"merges": ("math+code",), "methods": ("lata_linear",)},
        {"methods": ("ties", "lata_log"), "forgets": ()},
        {"tasks": ("wikitext", "gsm8k")},
        {"tasks": ("refusal",), "methods": ("ta", "ties")},
        {"methods": ("ta", "ties", "ties(density=0.3)", "mine"), "merges": ("ua+math",)},
    ],
)
def test_partial_studies_are_summarised(partial: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    summary = summarise(make_study(items=20, **partial), tmp_path)  # type: ignore[arg-type]
    assert summary.table
    assert summary.headline.endswith(".")
    assert written(summary, "report.html").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("rate", "short"),
    [
        (0.3, "not fully: its own do better"),
        (0.9, "yes: they do better than its own"),
        (0.6, "no difference shown"),
    ],
)
def test_layer_weights_of_another_family_are_set_beside_the_familys_own(rate: float, short: str) -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        return (2.0, rate, rate, 0.5) if label == "lata_transferred" else (2.0, 0.6, 0.6, 0.5)

    methods = ("ta", "lata_linear", "lines", "lata_transferred")
    study = make_study(skill=skill, seed_sd=0, methods=methods, merges=("math+code",), forgets=(), items=400)
    study.meta["methods"] = {"lata_transferred": {"schedule": "lata_linear"}}
    answer = findings(analyse(study)).answers[-1]
    assert (answer.question, answer.short) == ("Do layer weights carry over?", short)
    assert "from lata_linear, which has the family's own, and at " in answer.text


def test_where_nothing_is_solved_no_method_is_called_best() -> None:
    useless = make_study(skill=lambda *_: (2.0, 0.0, 0.0, 0.0), merges=("math+code",), forgets=(), items=20)
    found = findings(analyse(useless))
    assert [answer.short for answer in found.answers] == ["none: all score 0"]
    assert "No method solves any item of the 2 merged-task scores" in found.headline


def test_a_study_without_similarities_or_optional_columns_is_summarised(tmp_path: Path) -> None:
    full = make_study(methods=("ta", "lata_log"), merges=("math+code",), forgets=(), items=20)
    bare = full.scores.drop(columns=["distance", "unstable", "sandbox"])
    summary = summarise(Study(bare, full.items, meta={"family": "mini"}), tmp_path)
    assert "lata_log" in summary.table


def test_a_merge_that_is_not_finite_is_reported_not_averaged(tmp_path: Path) -> None:
    study = make_study((0, 1), methods=("ta", "dare", "lata_log"), merges=("math+code",), forgets=(), items=40)
    for value in (np.inf, np.nan):
        study.items.loc[(study.items["label"] == "dare") & (study.items["task"] == "wikitext"), "value"] = -value
        study.scores.loc[(study.scores["label"] == "dare") & (study.scores["task"] == "wikitext"), "value"] = value
        summary = summarise(study, tmp_path)
        assert "†" in summary.table
        assert "unstable or incomplete and left out: dare" in summary.headline


def test_a_merge_too_broken_to_be_evaluated_is_a_row_without_a_value(tmp_path: Path) -> None:
    study = make_study(methods=("ta", "ties", "dare", "dare_ties", "lata_linear"), merges=("math+code",), items=40)
    broken = study.scores["label"] == "dare"
    scores = study.scores.assign(
        value=study.scores["value"].mask(broken), unstable=broken, n=study.scores["n"].mask(broken, 0)
    )
    gone = Study(scores, study.items[study.items["label"] != "dare"], study.similarity, study.weights, study.meta)
    summary = summarise(gone, tmp_path)
    row = next(line for line in summary.table.splitlines() if line.startswith("dare "))
    assert row.count("–†") == 3
    against = summary.comparisons.query("a == 'lata_linear' and b == 'dare' and task == 'wikitext'").iloc[0]
    assert (against["seeds"], against["test"], bool(against["unstable_b"])) == (0, "none", True)
    claim = summary.claims.set_index("claim").loc["C1"]
    assert "of 4 comparisons" in claim["numbers"]


def test_nothing_is_written_when_the_tables_do_not_belong_together(tmp_path: Path) -> None:
    study = make_study(methods=("ta",), merges=("math+code",), forgets=(), items=20)
    study.scores["value"] += 1
    with pytest.raises(ValueError, match="disagree"):
        summarise(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def truth_of(best: str) -> Study:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        rate = 0.7 if label == best else 0.4
        return (2.4, rate, rate, rate) if kind == "learn" else None

    methods = ("ta", "ties", "lata_linear", "ta_half", "depth_linear")
    return make_study(skill=skill, seed_sd=0, methods=methods, merges=("math+code", "ua+math"), forgets=())


def test_the_findings_see_a_true_winner_that_survives_the_controls() -> None:
    answers = findings(analyse(truth_of("lata_linear"))).answers
    assert answers[0].short == "lata_linear"
    assert answers[2].short == "yes, against ta"
    assert answers[3].short == "yes, all 2"


def test_the_findings_see_a_gain_that_a_control_reaches() -> None:
    def skill(kind: str, merge: str, label: str) -> tuple[float, float, float, float] | None:
        rate = 0.7 if label in ("lata_linear", "ta_half") else 0.4
        return (2.4, rate, rate, rate) if kind == "learn" else None

    methods = ("ta", "ties", "lata_linear", "ta_half", "depth_linear")
    study = make_study(skill=skill, seed_sd=0, methods=methods, merges=("math+code", "ua+math"), forgets=())
    answer = findings(analyse(study)).answers[3]
    assert answer.short.startswith("no: ta_half")
    assert answer.good is False


def test_the_findings_call_a_null_study_noise() -> None:
    answers = findings(analyse(truth_of("nobody"))).answers
    assert answers[2].good is not True
    assert answers[3].good is False


def test_a_study_that_only_forgets_begins_with_that(tmp_path: Path) -> None:
    study = make_study(methods=("ta", "lata_threshold"), merges=(), items=20)
    summarise(study, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "2 forgettings ×" in page
    assert "0 merges" not in page
    assert page.index('id="forgetting"') < page.index('id="claims"')
    assert page.count('id="forgetting"') == 1
