"""The two tables that answer a sweep: what was chosen and what that cost, and where each method breaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from results.analysis.analysis import SweepAnalysis
from results.analysis.choice import Choice
from results.analysis.crossings import Crossing, Peak, bounds, difference
from results.analysis.curves import NORMALISED, PPL
from results.study.lineup import Model, schedule_of, short_of
from results.study.sweep import lambdas_of
from results.study.wording import number, over
from results.tables.learning import ESTIMATE, best_labels, estimate_cell, mark, score_notes
from results.tables.table import UNSTABLE, Cell, Column, Row, Table

RATE = "gsm8k"  # any task whose score is a rate: how means of rates are written
NONE = Cell("–")
SCORE_TITLE = {NORMALISED: "norm.", "mean": "mean"}


def chosen_table(analysis: SweepAnalysis, brief: bool = False) -> Table:
    """What the development split chose for each merge and method, its test scores, and the best in hindsight.

    Args:
        analysis: the sweep.
        brief: without the intervals of scores, for a terminal.
    """
    lineup = analysis.chosen.lineup
    tasks = [task for task in lineup.tasks if any(task in analysis.members(merge) for merge in analysis.merges)]
    tasks = [task for task in (PPL,) if task in analysis.chosen.measures] + tasks
    means = ["mean"] * bool(len(tasks) > 1) + [NORMALISED] * (analysis.objective == NORMALISED)
    rows = []
    for (merge, label), choice in analysis.choices.items():
        cells = [Cell(points_text(choice.chosen.values()), raw=(points_text(choice.chosen.values()),))]
        mine = Model("learn", merge, label)
        broken = UNSTABLE if choice.unstable else ""
        for task in tasks:
            own = analysis.chosen.estimates.get(task, {}).get(mine)
            merged = task == PPL or task in analysis.members(merge)
            best = merged and label in best_labels(analysis.chosen, "learn", merge, task)
            marks = (mark(analysis.chosen, merge, task, label) if merged else "") + broken
            cells.append(estimate_cell(task, own, marks, best, brief) if merged else NONE)
        for name in means:
            own = choice.raw if name == "mean" else choice.score
            best = label in _leaders(analysis, merge, name)
            cells.append(estimate_cell(RATE, own, broken, best, brief))
        cells += _hindsight(choice, brief)
        rows.append(Row(label, merge, tuple(cells)))
    columns = [Column("λ", "chosen on dev" if analysis.by_development else "chosen", key="λ")]
    columns += [Column(short_of(task), "test score there", ESTIMATE, task) for task in tasks]
    columns += [Column(SCORE_TITLE[name], "test score there", ESTIMATE, name) for name in means]
    columns += [
        Column("λ", "best on test, in hindsight", key="λ"),
        Column(SCORE_TITLE[analysis.objective], "best on test, in hindsight", ESTIMATE, analysis.objective),
        Column("cost", "best on test, in hindsight", ESTIMATE, "cost"),
    ]
    return Table(
        "chosen",
        f"Test scores at the λ {analysis.choosing}, and at the best λ in hindsight",
        tuple(columns),
        tuple(rows),
        _chosen_notes(analysis),
    )


def points_text(points: Iterable[str | None], alone: bool = True) -> str:
    """The λ of each seed; one where all agree. One λ a task as numbers alone, in the order of the experts' names."""
    texts = [
        "none" if point is None else ",".join(f"{lam:g}" for _, lam in sorted(lambdas_of(point).items()))
        for point in points
    ]
    if not texts:
        return "–"
    return texts[0] if alone and len(set(texts)) == 1 else " / ".join(texts)


def _leaders(analysis: SweepAnalysis, merge: str, name: str) -> set[str]:
    """The methods (no controls, none unstable) with the highest mean of a merge, as written."""
    values = {}
    for (other, label), choice in analysis.choices.items():
        own = choice.raw if name == "mean" else choice.score
        control = analysis.chosen.lineup.is_control(label)
        if other == merge and not control and own is not None and not choice.unstable:
            values[label] = number(RATE, own.value)
    top = max(values.values(), key=float, default="")
    leaders = {label for label, text in values.items() if text == top}
    return leaders if len(leaders) < len(values) else set()


def _hindsight(choice: Choice, brief: bool) -> list[Cell]:
    if choice.best is None or choice.cost is None:
        return [NONE, NONE, NONE]
    points, cost = points_text(choice.hindsight.values()), choice.cost
    aside = f"[{100 * cost.low:.1f}, {100 * cost.high:.1f}]"
    return [
        Cell(points, raw=(points,)),
        estimate_cell(RATE, choice.best, "", False, brief),
        Cell(f"{100 * cost.value:.1f}", aside, raw=(cost.value, cost.low, cost.high)),
    ]


def _chosen_notes(analysis: SweepAnalysis) -> tuple[str, ...]:
    seeds = len(analysis.seeds)
    many = f"; the λ of seeds {', '.join(map(str, analysis.seeds))} where they differ" if seeds > 1 else ""
    how = f"chosen on the development split alone ({analysis.meta.get('selection', 'grid')})"
    if not analysis.by_development:
        how = analysis.choosing
    elif undeveloped := _undeveloped(analysis):
        how += f", without {' and '.join(undeveloped)}, where there is no such split"
    notes = [
        f"λ is {how}{many}. Best of the methods in bold.",
        *found_objective(analysis),
        "cost: the best test score in hindsight minus that at the choice, in points, with its 95 % interval over "
        "items. The "
        "best of many is a noisy maximum, so the cost is too high on average; the interval allows for that, and "
        "one that starts at 0 says that the choice may have cost nothing.",
    ]
    if len(analysis.seeds) > 1:
        notes[0] += f" Scores are means over {seeds} seeds."
    if any("," in point for choice in analysis.choices.values() for point in choice.chosen.values() if point):
        notes.append("One λ a task is written in the alphabetical order of the experts.")
    return (*notes, *score_notes(analysis.chosen, "learn", intervals=False)[1:])


def _undeveloped(analysis: SweepAnalysis) -> list[str]:
    """Merged tasks that λ was not chosen by."""
    used = analysis.meta.get("development")
    members = dict.fromkeys(task for merge in analysis.merges for task in analysis.members(merge))
    return [] if used is None else [task for task in members if task not in used]


def found_objective(analysis: SweepAnalysis) -> list[str]:
    """What `norm.` means, where it is used."""
    if analysis.objective == NORMALISED:
        return ["norm.: mean over the merged tasks of the score divided by the expert's own, in per cent."]
    return ["No normalised scores: an expert was not scored, or scores nothing on its own task."]


def reference(analysis: SweepAnalysis, job: str = "learn") -> str | None:
    """The method that others are measured against: the LATA schedule of the claims, or another, or the baseline."""
    labels = analysis.labels() if job == "learn" else analysis.forgetting_labels
    named = schedule_of(analysis.chosen.lineup, job)
    lata = [label for label in labels if analysis.chosen.lineup.is_lata(label)]
    return next((label for label in (named, *lata, analysis.chosen.lineup.baseline) if label in labels), None)


def breaks_table(analysis: SweepAnalysis) -> Table:
    """The λ of the best score, of ten times pre's perplexity, and of half the best score, with intervals."""
    versus = reference(analysis)
    rows = []
    for (merge, label), one in analysis.breaks.items():
        curve, other = analysis.curves[merge, label], analysis.breaks.get((merge, versus or ""))
        best = curve.estimates[analysis.objective][one.peak.place] if one.peak else None
        cells = [_peak_cell(one.peak), estimate_cell(RATE, best, "", False, brief=True), crossing_cell(one.limit)]
        if versus:
            same = label == versus or other is None
            cells.append(NONE if same or other is None else difference_cell(one.limit, other.limit))
        cells += [crossing_cell(one.half, "not by"), first_cell(one.first, analysis.seeds)]
        rows.append(Row(label, merge, tuple(cells)))
    columns = [
        Column("λ", "best mean score", ESTIMATE, "λ"),
        Column("score", "best mean score", ESTIMATE, "score"),
        Column("λ", "10 × pre's perplexity", ESTIMATE, "λ"),
    ]
    columns += [Column(f"− {versus}", "10 × pre's perplexity", ESTIMATE, f"minus {versus}")] if versus else []
    columns += [Column("λ", "half of best score", ESTIMATE, "λ"), Column("from λ", "unstable", key="from λ")]
    return Table(
        "breaks",
        "λ of the best score, of ten times pre's perplexity, and of half the best score",
        tuple(columns),
        tuple(rows),
        _break_notes(analysis, versus),
    )


def crossing_cell(one: Crossing | None, never: str = "stable to") -> Cell:
    """A λ with its interval; a lower bound, or `never` and the end of the sweep, where it is not reached."""
    if one is None:
        return NONE
    ends = f"[{one.low:.2f}, {'> ' * one.open_end}{one.high:.2f}]"
    raw = (math.inf if one.never else one.value, one.low, math.inf if one.open_end else one.high)
    if one.never:
        return Cell(f"{never} {one.top:g}", ends if one.low < one.top else "", raw=raw)
    return Cell(f"{'≥ ' * one.bound}{one.value:.2f}", ends, raw=raw)


def _peak_cell(one: Peak | None) -> Cell:
    if one is None:
        return NONE
    return Cell(f"{one.lam:g}", f"[{one.low:g}, {one.high:g}]", raw=(one.lam, one.low, one.high))


def difference_cell(a: Crossing | None, b: Crossing | None) -> Cell:
    """a − b, a bound where one of them is; nothing where both are, for then it can be anything."""
    if a is None or b is None:
        return NONE
    least, most = bounds(a, b)
    if least and most:
        return NONE
    gap = difference(a, b)
    bound = "≥ " if least else "≤ " if most else ""
    return Cell(
        bound + signed(gap.value), f"[{signed(gap.low)}, {signed(gap.high)}]", raw=(gap.value, gap.low, gap.high)
    )


def signed(value: float) -> str:
    """A difference of λ with its sign. Never −0.00."""
    text = f"{abs(value):.2f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def first_cell(first: Mapping[int, float], seeds: list[int]) -> Cell:
    """The smallest unstable λ and its seeds; in CSV that of every seed."""
    if not first:
        return NONE
    by: dict[float, list[str]] = {}
    for seed in sorted(first):
        by.setdefault(first[seed], []).append(str(seed))
    texts = [f"{lam:g} ({','.join(by[lam])})" if len(seeds) > 1 else f"{lam:g}" for lam in sorted(by)]
    return Cell(texts[0], raw=(", ".join(texts),))


def _break_notes(analysis: SweepAnalysis, versus: str | None) -> tuple[str, ...]:
    seeds = len(analysis.seeds)
    many = "; values are means over seeds, and the best λ has its interval over items" if seeds > 1 else ""
    what = "normalised" if analysis.objective == NORMALISED else "mean"
    notes = [
        f"In brackets 95 % intervals {over(seeds)} (crossings of resampled curves{many}). 10 × pre's perplexity: "
        "where word perplexity passes the "
        "limit of stability, by straight lines of its logarithm between neighbouring λ.",
        f"half of best score: where the {what} score, after its best λ, has fallen to half of it. unstable: the "
        "smallest λ of the sweep that is unstable" + (", with the seeds for which it is." if seeds > 1 else "."),
    ]
    if any(one.limit and one.limit.bound for one in analysis.breaks.values()):
        notes.append(
            "≥ and > : a seed, or the interval, reaches the end of the sweep; two such λ have no difference."
        )
    if versus:
        notes.append(f"− {versus}: paired difference of the λ from that of {versus}.")
    return tuple(notes)
