"""Forgetting at the λ that was chosen, and at every λ: the tables."""

from __future__ import annotations

import math

from results.analysis.analysis import Forgetting, SweepAnalysis, section_of
from results.analysis.curves import BEFORE, PPL, RAW, Curve, heading
from results.analysis.points import REFUSED
from results.claims.verdicts import (
    INCONCLUSIVE,
    NOT_RUN,
    NOT_SUPPORTED,
    SUPPORTED,
    harm_verdict,
    harmless_before,
    utility_rows,
    utility_verdict,
    worst,
)
from results.study.lineup import Model, short_of
from results.study.selection import utility_margin
from results.study.wording import difference, number, over, span
from results.tables.forgetting import CHANGE
from results.tables.harm import change_cell
from results.tables.learning import ESTIMATE, detectable_note, estimate_cell
from results.tables.points import estimate_at, point_name
from results.tables.sweep import NONE, RATE, points_text
from results.tables.table import UNSTABLE, Cell, Column, Row, Table

_WORDS = {SUPPORTED: "yes", NOT_SUPPORTED: "no", INCONCLUSIVE: "undecided", NOT_RUN: "before"}


def chosen_harm_table(analysis: SweepAnalysis, brief: bool = False) -> Table:
    """The chosen λ of each target and method: harm on the test split and whether it is under the threshold; utility.

    Args:
        analysis: the sweep.
        brief: without single utility tasks where there is a mean, for a terminal.
    """
    tasks = list(dict.fromkeys(task for one in analysis.forgettings.values() for task in one.curve.utilities))
    mean = any(one.curve.utility == RAW for one in analysis.forgettings.values())
    shown = [] if brief and mean else tasks
    refused = any(REFUSED in one.curve.scored for one in analysis.forgettings.values())
    rows: list[Row] = []
    for merge in analysis.forgets:
        own = analysis.forgetting(merge)
        first = next(iter(own.values())).curve
        if first.started:
            names = [*shown, *[RAW] * mean, PPL, *[REFUSED] * refused]
            start = [estimate_cell(_task(name), estimate_at(first, name, 0), brief=brief) for name in names]
            at = 1 + len(shown) + mean
            cells = [
                Cell("0"),
                estimate_cell(RATE, estimate_at(first, first.harm, 0)),
                NONE,
                *start[: at - 1],
                NONE,
                *start[at - 1 :],
            ]
            rows.append(
                Row(
                    f"before ({analysis.meta['forgets'][merge]['target']})", section_of(analysis, merge), tuple(cells)
                )
            )
        for label, one in own.items():
            rows.append(Row(label, section_of(analysis, merge), _chosen_cells(analysis, one, shown, mean, refused)))
    margin, (harm, useful, more) = (
        utility_margin(analysis.meta),
        (f"{what} on test" for what in ("harm", "utility", "also")),
    )
    columns = [
        Column("λ", "chosen on dev" if analysis.by_development else "chosen", key="λ"),
        Column("(%)", harm, ESTIMATE, "harm"),
        Column(f"under {100 * analysis.threshold:g} %", harm, key="under the threshold"),
        *(Column(short_of(task), useful, CHANGE, task) for task in shown),
        *[Column("mean", useful, CHANGE, "mean")] * mean,
        Column(f"kept within ±{100 * margin:g}", useful, key="kept"),
        Column("ppl", more, CHANGE, PPL),
        *[Column("refused", more, CHANGE, REFUSED)] * refused,
    ]
    title = f"Forgetting at the λ {analysis.choosing}: harm and utility"
    return Table("chosen_forgetting", title, tuple(columns), tuple(rows), _chosen_notes(analysis))


def _task(name: str) -> str:
    """A task whose numbers are written as those of `name`."""
    return RATE if name in (RAW, REFUSED) else name


def _chosen_cells(
    analysis: SweepAnalysis, one: Forgetting, shown: list[str], mean: bool, refused: bool
) -> tuple[Cell, ...]:
    merge, label, choice = one.curve.merge, one.curve.label, one.choice
    estimates, key = analysis.chosen.estimates, Model("forget", merge, label)
    harm = estimates.get(one.curve.harm, {}).get(key)
    marks = UNSTABLE if choice.unstable else ""
    lam = points_text(choice.chosen.values())
    rows = utility_rows(analysis.chosen, merge, label)
    kept = worst([utility_verdict(row, utility_margin(analysis.meta)) for row in rows.values()]) if rows else None
    under = None if harm is None else NOT_SUPPORTED if marks else harm_verdict(harm, analysis.threshold)
    if harmless_before(analysis.chosen, merge) is not None:
        under, kept = NOT_RUN, None

    def compared(task: str) -> Cell:
        target, there = analysis.chosen.lineup.target(merge), estimates.get(task, {}).get(key)
        row = analysis.chosen.comparison(merge, task, label, target.label) if target else None
        if there is None or row is None:
            return estimate_cell(task, there)
        aside = f"({difference(task, row.difference)} {span(task, row.ci_low, row.ci_high, True)})"
        raw = (there.value, there.low, there.high, row.difference, row.ci_low, row.ci_high)
        return Cell(number(task, there.value), aside, raw=raw)

    return (
        Cell(lam, raw=(lam,)),
        estimate_cell(RATE, harm, marks),
        _verdict_cell(under),
        *(compared(task) for task in shown),
        *[change_cell(choice.there.get(RAW), choice.change.get(RAW))] * mean,
        _verdict_cell(kept),
        compared(PPL),
        *[change_cell(choice.there.get(REFUSED), choice.change.get(REFUSED))] * refused,
    )


def _verdict_cell(verdict: str | None) -> Cell:
    return NONE if verdict is None else Cell(_WORDS[verdict], raw=(_WORDS[verdict],))


def _chosen_notes(analysis: SweepAnalysis) -> tuple[str, ...]:
    seeds, threshold = len(analysis.seeds), f"{100 * analysis.threshold:g} %"
    differ = any(len(set(one.choice.chosen.values())) > 1 for one in analysis.forgettings.values())
    many = f"; that of seeds {', '.join(map(str, analysis.seeds))} where they differ" if differ else ""
    how = f"λ is {analysis.choosing}{many}."
    if analysis.by_development:
        how = f"λ is {analysis.choosing} alone{many}: of the stable λ whose harm is at or under {threshold} there "
        how += "the one of the highest mean utility; where harm is nowhere that low, the λ of the lowest harm."
    notes = [
        how,
        f"Beside harm stands its 95 % interval {over(seeds)}, beside the rest the change from before with its paired "
        "interval.",
        f"under {threshold}: yes where harm's interval lies under the threshold, no where it lies over it. kept: yes "
        f"where one-sided tests at 5 % show that no utility task fell by {100 * utility_margin(analysis.meta):g} "
        "points, no where an interval shows that one did. Both as claim C3 decides.",
    ]
    rows = analysis.chosen.comparisons
    notes += detectable_note(rows[rows["kind"] == "forget"], "difference")
    if any(harmless_before(analysis.chosen, merge) is not None for merge in analysis.forgets):
        notes.append("before: the target is harmless already, and claim C3 is not asked of it.")
    if any(one.choice.unstable for one in analysis.forgettings.values()):
        notes.append(f"{UNSTABLE} unstable on the test split: no forgetting.")
    if seeds > 1:
        notes.append(f"Scores are means over {seeds} seeds.")
    return (*notes, *analysis.chosen.lineup.method_notes("forget"))


def harm_points_table(analysis: SweepAnalysis, merge: str) -> Table:
    """One target: every λ of every method with harm, refusals, perplexity, utilities, their mean, distance moved."""
    own = analysis.forgetting(merge)
    curves = [one.curve for one in own.values()]
    names = [name for name in _names(curves[0]) if any(name in curve.scored for curve in curves)]
    rows: list[Row] = []
    for label, one in own.items():
        for place, point in enumerate(one.curve.points):
            before = one.curve.started and point == BEFORE
            if before and rows:
                continue
            rows.append(_point_row(one, label, place, names, before, analysis, merge))
    columns = [Column(heading(name, curves[0]), "", ESTIMATE, name) for name in names]
    columns.append(Column("‖merged − target‖", key="distance"))
    title = f"{section_of(analysis, merge)} at every λ"
    many = f", {len(analysis.seeds)} seeds" if len(analysis.seeds) > 1 else ""
    notes = [f"Test split{many}; in brackets 95 % intervals. λ = 0 is the target before."]
    if any(curve.unstable_PS.any() for curve in curves):
        text = f"{UNSTABLE} unstable (not finite, or over 10 × the perplexity of pre or of the target)"
        text += " for at least one seed; the mean is over the stable seeds, where there is one" if many else ""
        notes.append(text + ".")
    notes += analysis.chosen.lineup.method_notes("forget", merge)
    return Table(f"points_{merge}", title, tuple(columns), tuple(rows), tuple(notes), "λ")


def _names(curve: Curve) -> list[str]:
    return [curve.harm, REFUSED, PPL, *curve.utilities, RAW]


def _point_row(
    one: Forgetting, label: str, place: int, names: list[str], before: bool, analysis: SweepAnalysis, merge: str
) -> Row:
    curve, point = one.curve, one.curve.points[place]
    marks = UNSTABLE if curve.unstable_PS[place].any() else ""
    cells = [estimate_cell(_task(name), estimate_at(curve, name, place), marks) for name in names]
    distance = float(curve.distance_P[place])
    cells.append(Cell("–" if before or math.isnan(distance) else f"{distance:.2f}", raw=(distance,)))
    target = analysis.meta.get("forgets", {}).get(merge, {}).get("target", "")
    name = f"0 ({target})" if before else point_name(one.choice.chosen, point)
    return Row(name, "before" if before else label, tuple(cells))
