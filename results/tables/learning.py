"""The tables of a study: one for each learning merge, an overview, similarities; and what other tables share."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from results.analysis.analysis import Analysis
from results.analysis.layers import outside_note
from results.statistics.estimates import Estimate
from results.study.lineup import Lineup, Model, short_of
from results.study.wording import heading_of, in_percent, kind_of, listed, number, over, span, title_of
from results.tables.table import CONFIRMED, EXPLORED, UNSTABLE, Cell, Column, Row, Table

ESTIMATE = ("value", "ci_low", "ci_high")
CHANGE = (*ESTIMATE, "change", "change_ci_low", "change_ci_high")
METHODS, CONTROLS = "methods", "controls"
DISTANCE = Column("‖merged − pre‖", key="distance")


def section_of(lineup: Lineup, label: str) -> str:
    """Controls stand apart from the methods."""
    return CONTROLS if lineup.is_control(label) else METHODS


def mark(analysis: Analysis, merge: str, task: str, label: str) -> str:
    """`*` or `°` where the difference from the baseline is significant; see the tables' notes."""
    row = analysis.comparison(merge, task, label, analysis.lineup.baseline)
    if row is None or not row.significant:
        return ""
    return CONFIRMED if row.status == "confirmatory" else EXPLORED


def best_labels(analysis: Analysis, kind: str, merge: str, task: str) -> set[str]:
    """The methods (no controls, none unstable) whose value, as written, is the best of a merge."""
    direction = analysis.lineup.direction(kind, merge, task)
    values = {}
    for label in analysis.lineup.labels(kind, merge):
        key = Model(kind, merge, label)
        found = analysis.estimates.get(task, {}).get(key)
        if found and not analysis.lineup.is_control(label) and not analysis.lineup.unstable_seeds(key):
            values[label] = found.value
    finite = {label: value for label, value in values.items() if math.isfinite(value)}
    if not direction or len(finite) < 2:
        return set()
    top = max(finite.values(), key=lambda value: direction * value)
    winners = {label for label, value in finite.items() if number(task, value) == number(task, top)}
    return winners if len(winners) < len(finite) else set()


def estimate_cell(
    task: str, found: Estimate | None, marks: str = "", best: bool = False, brief: bool = False
) -> Cell:
    """A score with its interval (without, where `brief`)."""
    if found is None:
        return Cell("–", "", marks)
    aside = "" if brief or math.isnan(found.low) else span(task, found.low, found.high)
    return Cell(number(task, found.value), aside, marks, best, (found.value, found.low, found.high))


def _model_cells(analysis: Analysis, key: Model, merge: str) -> list[Cell]:
    unstable = UNSTABLE if analysis.lineup.unstable_seeds(key) else ""
    cells = []
    for task in analysis.lineup.tasks:
        found = analysis.estimates.get(task, {}).get(key)
        own = key.kind != "model"
        marks = (mark(analysis, merge, task, key.label) if own else "") + unstable
        best = own and key.label in best_labels(analysis, key.kind, merge, task)
        cells.append(estimate_cell(task, found, marks, best))
    distance = analysis.lineup.distance(key)
    cells.append(Cell("–" if math.isnan(distance) else f"{distance:.2f}", raw=(distance,)))
    return cells


def _family_rows(analysis: Analysis, wanted: set[str] | None = None) -> list[Row]:
    rows = []
    for key in analysis.lineup.family_models:
        if wanted is None or key.label in wanted:
            rows.append(Row(key.label, "models", tuple(_model_cells(analysis, key, ""))))
    return rows


def _columns(analysis: Analysis, members: list[str] | None = None) -> tuple[Column, ...]:
    out = []
    for task in analysis.lineup.tasks:
        outside = members is not None and task != "wikitext" and task not in members
        out.append(Column(heading_of(task) + (", not merged" if outside else ""), "", ESTIMATE, task))
    return (*out, DISTANCE)


def merge_table(analysis: Analysis, merge: str) -> Table:
    """The main table of a learning merge: family, methods, controls; scores with intervals and the distance moved."""
    experts = {name for names in analysis.meta.get("merges", {}).values() for name in names}
    rows = _family_rows(analysis, {"base", "pre", *experts, *analysis.lineup.experts(merge)})
    for label in analysis.lineup.labels("learn", merge):
        key = Model("learn", merge, label)
        rows.append(Row(label, section_of(analysis.lineup, label), tuple(_model_cells(analysis, key, merge))))
    title = f"Learning {listed(analysis.lineup.experts(merge))} at λ = {lambda_of(analysis, 'learn', merge)}"
    notes = score_notes(analysis, "learn")
    return Table(f"merge_{merge}", title, _columns(analysis, analysis.lineup.members(merge)), tuple(rows), notes)


def models_table(analysis: Analysis) -> Table:
    """The family's own scores, for studies without a merge."""
    return Table(
        "models", "Models of the family", _columns(analysis), tuple(_family_rows(analysis)), base_notes(analysis)
    )


def overview(analysis: Analysis) -> Table:
    """One line a method, narrow enough for a terminal: each merge's perplexity and the tasks that were merged."""
    lineup = analysis.lineup
    cells_of = [
        (merge, task)
        for merge in lineup.merges("learn")
        for task in (*[t for t in ("wikitext",) if t in lineup.tasks], *lineup.members(merge))
    ]
    rows = []
    for label in lineup.labels("learn"):
        cells = []
        for merge, task in cells_of:
            key = Model("learn", merge, label)
            found = analysis.estimates.get(task, {}).get(key)
            marks = mark(analysis, merge, task, label) + (UNSTABLE if lineup.unstable_seeds(key) else "")
            best = label in best_labels(analysis, "learn", merge, task)
            cells.append(estimate_cell(task, found, marks, best, brief=True))
        cells.append(_mean_cell(analysis, label) if label in analysis.task_means else Cell("–"))
        rows.append(Row(label, section_of(lineup, label), tuple(cells)))
    columns = [Column(short_of(task), merge, ESTIMATE, task) for merge, task in cells_of]
    columns.append(Column("mean", "all", ESTIMATE, "mean of merged tasks"))
    title = f"Overview: perplexity and merged tasks (%) at λ = {lambda_of(analysis, 'learn')}"
    return Table("overview", title, tuple(columns), tuple(rows), score_notes(analysis, "learn", intervals=False))


def _mean_cell(analysis: Analysis, label: str) -> Cell:
    """The mean over all merged-task scores."""
    mean = analysis.task_means[label]
    is_control = analysis.lineup.is_control
    rivals = [one.value for name, one in analysis.task_means.items() if not is_control(name)]
    best = not is_control(label) and len(rivals) > 1
    best = best and number("gsm8k", mean.value) == number("gsm8k", max(rivals))
    return Cell(number("gsm8k", mean.value), "", "", best, (mean.value, mean.low, mean.high))


def lambda_of(analysis: Analysis, kind: str, merge: str | None = None) -> str:
    """The λ of a merge, or of all of a kind, as a title names it."""
    scores = analysis.scores
    rows = scores[(scores["kind"] == kind) & ((scores["merge"] == merge) if merge else True)]
    values = sorted(set(rows["lambda"].dropna().astype(float)))
    return ", ".join(f"{value:g}" for value in values) or "–"


def base_notes(analysis: Analysis) -> tuple[str, ...]:
    """What the intervals are, how many items and seeds."""
    seeds = len(analysis.lineup.seeds)
    items = sorted({measure.n for measure in analysis.measures.values()})
    count = " to ".join(str(n) for n in dict.fromkeys((items[0], items[-1]))) if items else "no"
    if seeds == 1:
        shares = "bootstrap for shares, " * any(kind_of(task) == "share" for task in analysis.measures)
        how = f"over items: Wilson for rates, {shares}document bootstrap for perplexity"
    else:
        how = f"over trainings: t on {seeds} seeds, with the error of shared items; values are means over seeds"
    return (f"In brackets 95 % intervals ({how}); {count} items a task, {seeds} seed{'s' * (seeds > 1)}.",)


def detectable_note(rows: pd.DataFrame, what: str) -> list[str]:
    """The minimum detectable effect of some comparisons: rates together, and each other metric; median over tests."""
    texts = []
    for status in ("confirmatory", "exploratory"):
        size = rows["detectable"].astype(float)
        own = rows[(rows["status"] == status) & np.isfinite(size) & (size > 0)]  # 0: no item told the two apart
        groups = own.groupby(own["task"].map(lambda task: "points" if in_percent(task) else task), sort=True)
        medians = {unit: float(part["detectable"].median()) for unit, part in groups}
        told = [
            ("no points" if size > 1 else f"{100 * size:.1f} points")
            if unit == "points"
            else f"{number(unit, size)} of {title_of(unit)}"
            for unit, size in medians.items()
        ]
        texts += [f"{status} {listed(told)}"] * bool(told)
    shown = "; ".join(texts)
    shown += ". No points: not even 100 would have been found" * ("no points" in shown)
    return [f"Minimum detectable {what} (80 % power, median over the tests): {shown}."] * bool(texts)


def score_notes(analysis: Analysis, kind: str, intervals: bool = True) -> tuple[str, ...]:
    """The note lines under a table of scores."""
    lineup = analysis.lineup
    notes = list(base_notes(analysis))
    if not intervals:
        items = notes[0].split("; ")[-1]
        notes = [f"Best of the methods in bold; mean is over all merged-task scores; {items}"]
    merges = lineup.merges(kind)
    have = [m for m in merges if lineup.baseline in lineup.labels(kind, m)]
    if not have:
        notes.append(f"No row {lineup.baseline}: nothing to compare with, so no marks.")
    else:
        family = int((analysis.comparisons["status"] == "confirmatory").sum())
        how = over(len(lineup.seeds))
        confirmed = (
            f"{CONFIRMED} differs from {lineup.baseline} {how}, confirmatory (p < 0.05, Holm over {family} tests)"
        )
        explored = f"{EXPLORED} differs from {lineup.baseline} {how}, exploratory (uncorrected p < 0.05)"
        notes.append(f"{confirmed}; {explored}." if kind == "learn" else f"{explored}.")
        rows = analysis.comparisons[analysis.comparisons["kind"] == kind]
        notes += detectable_note(rows[(rows["a"] == lineup.baseline) | (rows["b"] == lineup.baseline)], "difference")
    broken = [key for key in lineup.models if key.kind == kind and lineup.unstable_seeds(key)]
    if broken:
        limit = "pre's perplexity" if kind == "learn" else "the perplexity of pre or of the target"
        text = f"{UNSTABLE} unstable (not finite, or over 10 × {limit})"
        if len(lineup.seeds) > 1:
            text += " for at least one seed; the mean is over the stable seeds, where there is one"
        notes.append(text + "; never counted as best.")
    return (*notes, *outside_note(analysis, kind), *lineup.method_notes(kind))
