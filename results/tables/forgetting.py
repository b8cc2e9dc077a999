"""The tables of forgetting: harm before and after, refusals beside it, utility with its change."""

from __future__ import annotations

import math

from results.analysis.analysis import Analysis
from results.analysis.points import REFUSALS, REFUSED
from results.analysis.refusals import refusal_text
from results.statistics.estimates import Estimate
from results.study.lineup import Model, short_of
from results.study.wording import difference, heading_of, number, span
from results.tables.learning import CHANGE, ESTIMATE, estimate_cell, lambda_of, mark, score_notes
from results.tables.table import UNSTABLE, Cell, Column, Row, Table

#: Column of the share of refusals, which is no task's primary metric.


def forget_table(analysis: Analysis) -> Table:
    """Harm before and after, utility before and after with the paired interval of the difference."""
    lineup = analysis.lineup
    rows = []
    harms = {lineup.harm_task(merge) for merge in lineup.merges("forget")}
    tasks = [task for task in lineup.tasks if task in harms] + [task for task in lineup.tasks if task not in harms]
    tasks = _with_refusals(analysis, tasks)
    for merge in lineup.merges("forget"):
        entry = analysis.meta.get("forgets", {}).get(merge, {})
        section = f"{entry.get('target', merge)} forgets {entry.get('forget', 'ua')}"
        target = lineup.target(merge)
        keys = ([target] if target else []) + [
            Model("forget", merge, label) for label in lineup.labels("forget", merge)
        ]
        for key in keys:
            before = key.kind == "model"
            cells = []
            for task in tasks:
                found = _found(analysis, task, key)
                if task == REFUSED:
                    cells.append(estimate_cell(REFUSALS[0], found))
                elif before or task in harms:
                    marks = "" if before else mark(analysis, merge, task, key.label)
                    cells.append(estimate_cell(task, found, marks))
                else:
                    cells.append(_against_target(analysis, merge, task, key, target, found))
            distance = math.nan if before else lineup.distance(key)
            cells.append(Cell("–" if math.isnan(distance) else f"{distance:.2f}", raw=(distance,)))
            name = f"before ({key.label})" if before else key.label
            if not before and lineup.unstable_seeds(key):
                name += f" {UNSTABLE}"
            rows.append(Row(name, section, tuple(cells)))
    columns = [_column(task, harms) for task in tasks]
    columns.append(Column("‖merged − target‖", key="distance"))
    title = f"Forgetting at λ = {lambda_of(analysis, 'forget')}: harm and utility, before and after"
    harm = "harm and refusals" if REFUSED in tasks else "harm"
    lead = f"Beside {harm} stands the score's interval, "
    lead += "beside utility the change from before with its paired interval."
    notes = (lead, *score_notes(analysis, "forget"), *_refusal_notes(analysis))
    return Table("forgetting", title, tuple(columns), tuple(rows), notes)


def _with_refusals(analysis: Analysis, tasks: list[str]) -> list[str]:
    """The tasks, and the share of refusals after compliance where it was scored."""
    return [name for task in tasks for name in (task, *[REFUSED] * bool(task == REFUSALS[0] and analysis.refusals))]


def _found(analysis: Analysis, task: str, key: Model) -> Estimate | None:
    return analysis.refused.get(key) if task == REFUSED else analysis.estimates.get(task, {}).get(key)


def _column(task: str, harms: set[str]) -> Column:
    if task == REFUSED:
        return Column("refused (%)", "", ESTIMATE, task)
    if task in harms:
        return Column(f"harm: {heading_of(task)}", "", ESTIMATE, task)
    return Column(heading_of(task), "", CHANGE, task)


def _refusal_notes(analysis: Analysis) -> list[str]:
    if analysis.refusals is None:
        return []
    text = refusal_text(analysis)
    return ["refused: share of answers that refuse." + f" {text}" * bool(text)]


def _against_target(
    analysis: Analysis, merge: str, task: str, key: Model, target: Model | None, found: Estimate | None
) -> Cell:
    row = analysis.comparison(merge, task, key.label, target.label) if target else None
    if found is None or row is None:
        return estimate_cell(task, found)
    aside = f"({difference(task, row.difference)} {span(task, row.ci_low, row.ci_high, True)})"
    raw = (found.value, found.low, found.high, row.difference, row.ci_low, row.ci_high)
    return Cell(number(task, found.value), aside, mark(analysis, merge, task, key.label), False, raw)


def forget_overview(analysis: Analysis) -> Table:
    """Forgetting in a form narrow enough for a terminal: scores alone, a group of columns a target."""
    lineup = analysis.lineup
    merges = lineup.merges("forget")
    tasks = _with_refusals(analysis, lineup.tasks)
    cells_of = [(merge, task) for merge in merges for task in tasks]
    rows = []
    for label in ("before", *lineup.labels("forget")):
        cells = []
        for merge, task in cells_of:
            key = lineup.target(merge) if label == "before" else Model("forget", merge, label)
            found = _found(analysis, task, key) if key else None
            marks = mark(analysis, merge, task, label) if label != "before" else ""
            marks += UNSTABLE if key and lineup.unstable_seeds(key) else ""
            cells.append(estimate_cell(REFUSALS[0] if task == REFUSED else task, found, marks, brief=True))
        rows.append(Row(label, "", tuple(cells)))
    columns = tuple(Column(short_of(task), merge, ESTIMATE, task) for merge, task in cells_of)
    rise = ", refused rise" * (REFUSED in tasks)
    title = f"Forgetting at λ = {lambda_of(analysis, 'forget')} (ua should fall{rise}, the rest stay)"
    notes = (*score_notes(analysis, "forget", intervals=False)[1:], *_refusal_notes(analysis))
    return Table("forget_overview", title, columns, tuple(rows), notes)
