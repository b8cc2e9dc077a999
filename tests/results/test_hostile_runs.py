"""A stranger's run: its names do no harm where they are written, and what is no run is one line."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_sweep import METHODS, make_sweep
from test_compare_stored import written

from results.study import store as stored
from results.study.sweep import Sweep
from results.summaries.comparison import compare_runs
from results.summaries.sweep import summarise_sweep

ROOT = Path(__file__).resolve().parents[2]

UP = "../../../up"
NAMES = {
    "ta": "=cmd|' /C calc'!A0",
    "lata_log": UP,
    "ties": r"${oc.env:HOME} \input{/etc/passwd} $\frac{ \g<1>",
    "math+code": f"{UP}<script>alert(1)</script><img src=x onerror=y>`[a](javascript:b)",
}


def renamed(sweep: Sweep, names: dict[str, str]) -> Sweep:
    def frame(old: pd.DataFrame) -> pd.DataFrame:
        return old.replace({column: names for column in ("label", "merge", "method") if column in old})

    tables = {name: frame(getattr(sweep, name)) for name in ("scores", "items", "choices", "others")}
    merges = {names.get(merge, merge): experts for merge, experts in sweep.meta["merges"].items()}
    meta = {**sweep.meta, "merges": merges, "title": f"<b>{UP}</b>", "family": "<i>x"}
    return replace(sweep, **tables, meta=meta)


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    truths = {name: METHODS[name] for name in ("ta", "ties", "lata_log")}
    return make_sweep(truths, (0.4, 0.8, 1.2), items=30)


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.draws
def test_hostile_names_do_no_harm_in_a_comparison(sweep: Sweep, tmp_path: Path) -> None:
    run = stored.load(written(renamed(sweep, NAMES), tmp_path / "run"))
    out = tmp_path / "a" / "b" / "out"
    summary = compare_runs(run, NAMES["ta"], out)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "a"}
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out"]
    files = {path for path in out.rglob("*") if path.is_file()}
    assert files == set(summary.files)
    assert {path.parent for path in files} == {out, out / "tables", out / "figures"}
    for path in files:
        if path.suffix == ".csv":
            cells = [cell for row in csv.reader(io.StringIO(path.read_text())) for cell in row]
            assert not [cell for cell in cells if cell.startswith(("=", "@")) or (cell[:1] in "\t\r" and cell)]
            assert path.parent != out or "'" + NAMES["ta"] in cells
        elif path.suffix == ".md":
            text = path.read_text()
            assert not any(tag in text.replace("\\<", "") for tag in ("<script", "<img", "](javascript"))
        elif path.suffix == ".tex":
            assert "\\input" not in path.read_text()
            assert "\\frac" not in path.read_text()
    page = Elements()
    page.feed((out / "report.html").read_text())
    assert not page.found & {"script", "img", "iframe", "b onerror"}
    assert not [name for name in page.attributes if name.startswith("on")]


@pytest.mark.draws
def test_hostile_names_do_no_harm_in_the_page_of_a_sweep(sweep: Sweep, tmp_path: Path) -> None:
    names = {**NAMES, "math+code": '../../up" onload="alert(1)"><script>alert(1)</script>'}
    out = tmp_path / "a" / "out"
    summary = summarise_sweep(renamed(sweep, names), out)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert {path.parent for path in summary.files} == {out, out / "tables", out / "figures"}
    assert len(list((out / "figures").glob("lambda_*.svg"))) == 1
    page = Elements()
    page.feed((out / "report.html").read_text())
    assert {"svg", "table"} <= page.found
    assert not page.found & {"script", "img", "iframe"}
    assert not [name for name in page.attributes if name.startswith("on")]


def test_no_module_writes_html_or_css() -> None:
    tags = re.compile(r"</?(html|head|body|div|p|h\d|table|t[rdh]|span|ul|li|style|details)\b")
    modules = [file for part in ("results", "experiments") for file in (ROOT / part).rglob("*.py")]
    assert modules
    assert not [file.name for file in modules if tags.search(file.read_text(encoding="utf-8"))]


def test_harmless_names_give_what_hostile_ones_do(sweep: Sweep, tmp_path: Path) -> None:
    plain = compare_runs(stored.load(written(sweep, tmp_path / "plain")), "ta", tmp_path / "a")
    harmed = stored.load(written(renamed(sweep, NAMES), tmp_path / "hostile"))
    hostile = compare_runs(harmed, NAMES["ta"], tmp_path / "b")
    order = ["merge", "task", "a", "b"]
    one = plain.rows.replace({"a": NAMES, "b": NAMES, "merge": NAMES}).sort_values(order, ignore_index=True)
    two = hostile.rows.sort_values(order, ignore_index=True)
    numbers = ["value_a", "value_b"] if "value_a" in one else [c for c in one if c.startswith("value")]
    assert numbers
    pd.testing.assert_frame_equal(one[[*order, *numbers]], two[[*order, *numbers]])


class Harm:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harmed"),))


def _study(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        record = json.loads((folder / stored.STUDY).read_text())
        made = change(record)
        (folder / stored.STUDY).write_text(made if isinstance(made, str) else json.dumps(record))

    return damage


def _scores(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        change(pd.read_parquet(folder / stored.SCORES)).to_parquet(folder / stored.SCORES)

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a list": _study(lambda record: "[]"),
    "deep": _study(lambda record: "[" * 200_000),
    "no text": lambda folder: (folder / stored.STUDY).write_bytes(b"\xff\xfe"),
    "digests a list": _study(lambda record: record.update(digests=[])),
    "meta a list": _study(lambda record: record.update(meta=[])),
    "merges a text": _study(lambda record: record["meta"].update(merges="math")),
    "experts numbers": _study(lambda record: record["meta"].update(merges={"a": [1]})),
    "margin a text": _study(lambda record: record["meta"].update(utility_margin="x")),
    "baseline a list": _study(lambda record: record["meta"].update(baseline=["ta"])),
    "models a mapping": _study(lambda record: record["meta"].update(models={})),
    "choices of lists": _study(
        lambda record: record["choices"].update(label=[[1]] * len(record["choices"]["label"]))
    ),
    "choices a number": _study(lambda record: record.update(choices=5)),
    "a name of two lines": _study(lambda record: record["meta"].update(family="a\nb")),
    "a name that writes to the terminal": _scores(lambda scores: scores.assign(label="\x1b]0;x\x07")),
    "a name that is long": _scores(lambda scores: scores.assign(label="x" * 10_000)),
    "a label that is a number": _scores(lambda scores: scores.assign(label=1.5)),
    "a label that is missing": _scores(lambda scores: scores.assign(label=None)),
    "values that are text": _scores(lambda scores: scores.assign(value="a")),
    "values that are lists": _scores(lambda scores: scores.assign(value=[[1.0]] * len(scores))),
    "an unknown task": _scores(lambda scores: scores.assign(task="new")),
    "columns that are missing": _scores(lambda scores: scores.drop(columns="value")),
    "a pickle": lambda folder: (folder / stored.SCORES).write_bytes(pickle.dumps(Harm())),
    "a cut file": lambda folder: (folder / stored.SCORES).write_bytes((folder / stored.SCORES).read_bytes()[:500]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_run_is_one_line(
    damage: str, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = written(sweep, tmp_path / "run")
    DAMAGES[damage](folder)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the lines differ
        stored.load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert text.isprintable()
    assert str(folder) in text
    assert not Path("harmed").exists()
