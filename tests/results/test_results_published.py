"""Published numbers: what a row must say, and the verdict beside our own number."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_study import make_study

from results.analysis.analysis import analyse
from results.summaries.study import summarise
from results.tables.published import COLUMNS, load, published_table

GOOD = {
    **{"table": "Table 2", "family": "mini", "kind": "learn", "merge": "math+code", "label": "ta", "lambda": "1.0"},
    **{"task": "gsm8k", "metric": "exact_match", "value": "27.0", "unit": "%"},
    **{"source": "somewhere v1", "checked_by": "somebody"},
}


def written(folder: Path, *changes: dict[str, str]) -> Path:
    file = folder / "numbers.csv"
    lines = [",".join({**GOOD, **change}[column] for column in COLUMNS) for change in changes]
    file.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
    return file


def test_the_committed_file_has_the_columns_and_no_number_that_nobody_read() -> None:
    published = load()
    assert list(published.columns) == list(COLUMNS)
    assert published["checked_by"].str.len().gt(0).all()


def test_rates_are_read_in_per_cent(tmp_path: Path) -> None:
    (value,) = load(written(tmp_path, {"value": "47.5"}))["value"]
    assert value == pytest.approx(0.475)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ""}, "line 2: source is empty"),
        ({"checked_by": " "}, "line 2: checked_by is empty"),
        ({"metric": "accuracy"}, "gsm8k has no metric 'accuracy'"),
        ({"unit": "ppl"}, "the unit 'ppl' does not fit exact_match, a rate"),
        ({"value": "about 3"}, "write value and lambda as plain numbers"),
        ({"value": "nan"}, "not a finite number"),
    ],
)
def test_a_row_that_cannot_be_trusted_is_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, change))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("table,value\n")
    with pytest.raises(ValueError, match="lacks the columns family"):
        load(file)


def test_the_verdict_is_about_our_interval_our_lambda_and_our_metric(tmp_path: Path) -> None:
    analysis = analyse(make_study())
    from results.study.lineup import Model

    ours = analysis.estimates["gsm8k"][Model("learn", "math+code", "ta")]
    inside, outside = (f"{100 * value:.6f}" for value in (ours.value, ours.high + 0.05))
    changes = (
        {"value": inside},
        {"value": outside},
        {"value": inside, "lambda": "0.6"},
        {"value": inside, "label": "unknown"},
        {"value": "8.7", "unit": "ppl", "task": "wikitext", "metric": "token_perplexity"},
        {"value": inside, "family": "another"},
    )
    table = published_table(analysis, load(written(tmp_path, *changes)))
    assert table is not None
    verdicts = [row.cells[-1].text for row in table.rows]
    assert verdicts == ["within the interval", "deviates", "not run", "not run", "not run"]
    assert table.rows[1].cells[2].text.startswith("−")


def test_a_study_without_published_numbers_has_no_such_table(tmp_path: Path) -> None:
    summarise(make_study(), tmp_path)
    assert not (tmp_path / "tables" / "published.md").exists()
