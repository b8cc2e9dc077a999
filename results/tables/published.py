"""Published numbers beside our own: `results/outcomes/paper/numbers.csv`, and the table that a study makes of it.

A number is compared with the mean of our stable seeds and its 95 % interval. That interval is ours alone: a published
number has an error of its own, which is mostly unknown, so `deviates` means no more than that it lies outside.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from eval.schema import METRICS, PRIMARY
from results.analysis.analysis import Analysis
from results.study.lineup import Model
from results.study.run import rows_of
from results.study.wording import PERCENT, difference, number, span, title_of
from results.tables.table import Cell, Column, Row, Table

FILE = Path(__file__).parents[1] / "outcomes" / "paper" / "numbers.csv"
COLUMNS = (
    *("table", "family", "kind", "merge", "label", "lambda"),
    *("task", "metric", "value", "unit", "source", "checked_by"),
)
#: Unit of a number → kinds of metrics it belongs to, and what makes our unit of it.
UNITS = {"%": (PERCENT, 0.01), "ppl": (("perplexity",), 1.0), "score": (("mean",), 1.0)}
WITHIN, DEVIATES, NOT_RUN = "within the interval", "deviates", "not run"


def load(file: Path = FILE) -> pd.DataFrame:
    """The published numbers, values in this suite's units.

    Raises:
        ValueError: a column is missing, a value is no number, a unit does not fit its metric, or a row does not say
            where it stands and who read it there.
    """
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    if missing := [column for column in COLUMNS if column not in frame.columns]:
        raise ValueError(f"{file.name} lacks the columns {', '.join(missing)}; see {file.parent.name}/README.md")
    rows = [_checked(file.name, line, row) for line, row in enumerate(frame.to_dict("records"), start=2)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _checked(name: str, line: int, row: dict[Any, str]) -> dict[str, Any]:
    where = f"{name}, line {line}"
    for column in ("table", "source", "checked_by"):
        if not row[column].strip():
            raise ValueError(f"{where}: {column} is empty; a number without its source is not shown")
    metric = METRICS.get((row["task"], row["metric"]))
    if metric is None:
        raise ValueError(f"{where}: {row['task']} has no metric {row['metric']!r}; see METRICS in eval/schema.py")
    kinds, factor = UNITS.get(row["unit"], ((), 1.0))
    if metric.kind not in kinds:
        raise ValueError(f"{where}: the unit {row['unit']!r} does not fit {row['metric']}, a {metric.kind}")
    try:
        value = float(row["value"])
        lam = float(row["lambda"]) if row["lambda"].strip() else math.nan
    except ValueError as error:
        raise ValueError(f"{where}: {error}; write value and lambda as plain numbers") from None
    if not math.isfinite(value):
        raise ValueError(f"{where}: {row['value']} is not a finite number")
    return {**row, "value": value * factor, "lambda": lam}


def published_table(analysis: Analysis, published: pd.DataFrame) -> Table | None:
    """Published, ours, difference and verdict of every number of this study's family; None where there is none."""
    own = published[published["family"] == analysis.meta.get("family")]
    if own.empty:
        return None
    columns = (
        Column("published"),
        Column("ours", "", ("value", "ci_low", "ci_high")),
        Column("difference"),
        Column("verdict", "", ("verdict",)),
    )
    rows = tuple(_row(analysis, row) for row in rows_of(own.rename(columns={"lambda": "lam"})))
    sources = ", ".join(dict.fromkeys(own["source"]))
    notes = (f"Published: {sources}. In brackets our 95 % interval; a published number has an error of its own.",)
    return Table("published", "Published numbers beside ours", columns, rows, notes)


def _row(analysis: Analysis, row: Any) -> Row:
    key = Model(row.kind, row.merge, row.label)
    name = " ".join(part for part in (row.merge, row.label) if part)
    section = f"{row.table}: {title_of(row.task)}"
    written = Cell(number(row.task, row.value), raw=(row.value,))
    found = analysis.estimates.get(row.task, {}).get(key)
    ran = found is not None and PRIMARY[row.task][0] == row.metric and _at(analysis, key, row.lam)
    if found is None or not ran:
        return Row(name, section, (written, Cell("–"), Cell("–"), Cell(NOT_RUN, raw=(NOT_RUN,))))
    verdict = WITHIN if found.low <= row.value <= found.high else DEVIATES
    gap = found.value - row.value
    ours = Cell(number(row.task, found.value), span(row.task, found.low, found.high))
    ours = Cell(ours.text, ours.aside, raw=(found.value, found.low, found.high))
    return Row(
        name, section, (written, ours, Cell(difference(row.task, gap), raw=(gap,)), Cell(verdict, raw=(verdict,)))
    )


def _at(analysis: Analysis, key: Model, lam: float) -> bool:
    """Whether our row was made at this λ."""
    scores = analysis.scores
    rows = scores[(scores["kind"] == key.kind) & (scores["merge"] == key.merge) & (scores["label"] == key.label)]
    if math.isnan(lam):
        return bool(rows["lambda"].isna().all())
    return bool(len(rows)) and bool(((rows["lambda"].astype(float) - lam).abs() < 1e-9).all())
