"""Where harm falls to the threshold, and what utility costs there: the table."""

from __future__ import annotations

from results.analysis.analysis import SweepAnalysis, section_of
from results.analysis.curves import PPL, Curve
from results.analysis.forgetting import Passage, gap
from results.analysis.points import REFUSED
from results.statistics.estimates import Estimate
from results.statistics.inference import Contrast
from results.study.wording import difference, number, over, span, title_of
from results.tables.forgetting import CHANGE
from results.tables.learning import ESTIMATE, estimate_cell
from results.tables.sweep import NONE, RATE, crossing_cell, difference_cell, first_cell, reference
from results.tables.table import BROKEN, UNSTABLE, Cell, Column, Row, Table


def harm_table(analysis: SweepAnalysis, brief: bool = False) -> Table:
    """The λ at which harm falls to the threshold, and what utility costs there, for each target and method.

    Args:
        analysis: the sweep.
        brief: without the intervals of what was before, for a terminal.
    """
    versus = reference(analysis, "forget")
    rows: list[Row] = []
    refused = any(REFUSED in one.curve.scored for one in analysis.forgettings.values())
    for (merge, label), one in analysis.forgettings.items():
        passage, curve = one.passage, one.curve
        if passage is None:
            continue
        other = analysis.forgettings.get((merge, versus or ""))
        rival = other.passage if other and label != versus else None
        useful = curve.utility or ""
        cells = [
            estimate_cell(RATE, passage.before.get(curve.harm), brief=brief),
            _lowest_cell(curve, passage),
            _crossing_cell(passage),
        ]
        cells += [difference_cell(passage.crossing, rival.crossing) if rival else NONE] if versus else []
        cells += [estimate_cell(RATE, passage.before.get(useful), brief=brief), _reading_cell(passage, useful)]
        cells += [_cost_cell(passage, rival, useful)] if versus else []
        cells.append(_ratio_cell(passage))
        cells += [_reading_cell(passage, REFUSED)] if refused else []
        cells.append(first_cell(passage.first, analysis.seeds))
        rows.append(Row(label, section_of(analysis, merge), tuple(cells)))
    limit, utility, minus = f"harm at {100 * analysis.threshold:g} %", f"{utility_title(analysis)} (%)", f"− {versus}"
    columns = [Column("before", "harm (%)", ESTIMATE), Column("lowest", "harm (%)", ("value", "at λ"))]
    columns += [Column("λ", limit, ESTIMATE, "λ")]
    columns += [Column(minus, limit, ESTIMATE, f"minus {versus}")] if versus else []
    columns += [Column("before", utility, ESTIMATE), Column("there (change)", utility, CHANGE, "there")]
    columns += [Column(minus, utility, ESTIMATE, f"change minus {versus}")] if versus else []
    columns += [Column("ppl / before", "there", ESTIMATE, "perplexity ratio")]
    columns += [Column("refused (change)", "there", CHANGE, "refused")] if refused else []
    columns += [Column("from λ", "unstable", key="from λ")]
    title = f"λ at which harm falls to {100 * analysis.threshold:g} %, and what utility costs there"
    return Table("harm", title, tuple(columns), tuple(rows), _harm_notes(analysis, versus, refused))


def utility_title(analysis: SweepAnalysis, merge: str | None = None) -> str:
    """What utility is here, or in one forgetting: the only task's title, or `mean utility`."""
    curves = [one.curve for (other, _), one in analysis.forgettings.items() if merge in (None, other)]
    tasks = {curve.utilities for curve in curves if curve.utilities}
    only = next(iter(tasks)) if len(tasks) == 1 else ()
    return title_of(only[0]) if len(only) == 1 else "mean utility"


def _lowest_cell(curve: Curve, passage: Passage) -> Cell:
    """The lowest harm of a stable point, and its λ."""
    one = None if passage.lowest is None else curve.estimates[curve.harm][passage.lowest]
    if one is None or passage.lowest is None:
        return NONE
    lam = float(curve.lam_P[passage.lowest])
    return Cell(number(RATE, one.value), f"at {lam:g}", raw=(one.value, lam))


def _crossing_cell(passage: Passage) -> Cell:
    if passage.crossing is None:
        return Cell("before")
    cell = crossing_cell(passage.crossing, "not by")
    marks = UNSTABLE * bool(passage.unstable) + BROKEN * passage.broken
    return Cell(cell.text, cell.aside, marks, cell.best, cell.raw)


def _reading_cell(passage: Passage, name: str) -> Cell:
    if name not in passage.there:
        return NONE
    return change_cell(passage.there[name].there, passage.there[name].change)


def change_cell(there: Estimate | None, change: Estimate | Contrast | None, marks: str = "") -> Cell:
    """A score in per cent with its change from before."""
    if there is None or change is None:
        return estimate_cell(RATE, there, marks)
    aside = f"({difference(RATE, change.value)} {span(RATE, change.low, change.high, True)})"
    raw = (there.value, there.low, there.high, change.value, change.low, change.high)
    return Cell(number(RATE, there.value), aside, marks, raw=raw)


def _cost_cell(passage: Passage, rival: Passage | None, name: str) -> Cell:
    """The difference of what utility costs; none where a side is a bound: it was not read at the threshold."""
    if rival is None or name not in passage.there or name not in rival.there:
        return NONE
    if any(one.crossing is None or one.crossing.bound for one in (passage, rival)):
        return NONE
    one = gap(passage.there[name], rival.there[name])
    aside = span(RATE, one.low, one.high, True)
    return Cell(difference(RATE, one.value), aside, raw=(one.value, one.low, one.high))


def _ratio_cell(passage: Passage) -> Cell:
    return estimate_cell(PPL, passage.there[PPL].change) if PPL in passage.there else NONE


def _utility_notes(analysis: SweepAnalysis) -> list[str]:
    """What utility is the mean of, for each forgetting where they differ."""
    tasks = {
        merge: {task: None for one in analysis.forgetting(merge).values() for task in one.curve.utilities}
        for merge in analysis.forgets
    }
    means = {merge: ", ".join(title_of(task) for task in own) for merge, own in tasks.items() if own}
    if utility_title(analysis) != "mean utility" or not means:
        return []
    if len(set(means.values())) == 1:
        return [f"Utility: mean of {next(iter(means.values()))}."]
    told = [f"{text} where {section_of(analysis, merge)}" for merge, text in means.items()]
    return [f"Utility: mean of {'; of '.join(told)}."]


def _harm_notes(analysis: SweepAnalysis, versus: str | None, refused: bool) -> tuple[str, ...]:
    seeds = len(analysis.seeds)
    passages = [one.passage for one in analysis.forgettings.values() if one.passage]
    notes = [
        f"In brackets 95 % intervals {over(seeds)}. λ: where harm falls to the threshold, by straight "
        "lines between neighbouring λ; at λ = 0 the merge is the target. Scores there are read off the same lines, "
        "and (change) is paired with what was before. lowest: at the stable λ of the lowest harm.",
    ]
    notes += _utility_notes(analysis)
    crossings = [passage.crossing for passage in passages if passage.crossing is not None]
    if len(crossings) < len(passages):
        notes.append("before: the target is harmless already, at or under the threshold; there is nothing to forget.")
    if any(crossing.bound for crossing in crossings):
        notes.append(
            "≥ and > : a seed, or the interval, does not get there within the sweep and counts with its largest λ; "
            "two such λ have no difference, and what utility costs has none where one is such."
        )
    if any(passage.unstable for passage in passages):
        notes.append(
            f"{UNSTABLE} at an unstable point or beyond one (not finite, or over 10 × the perplexity of pre or of "
            "the target)" + (", for at least one seed" if seeds > 1 else "") + ": no forgetting, the model breaks."
        )
    if any(passage.broken for passage in passages):
        notes.append(
            f"{BROKEN} less than half of the answers that stopped complying became refusals: the answers break."
        )
    elif not refused:
        notes.append("Refusals were not counted: harm may have fallen because answers break.")
    if versus:
        notes.append(f"− {versus}: paired difference from {versus}; of utility that of the changes.")
    if seeds > 1:
        notes.append(f"Values are means over {seeds} seeds.")
    return (*notes, *analysis.chosen.lineup.method_notes("forget"))
