"""The table of the ways of choosing λ, and what it says in a sentence."""

from __future__ import annotations

import math

from results.choosing import Gap, Way, common_seeds, in_order, mean_gap, reference_of
from results.findings import Answer
from results.grid import EXPLORED, UNSTABLE, Cell, Column, Row, Table
from results.sweep import lambdas_of
from results.sweep_analysis import SweepAnalysis
from results.sweep_tables import NONE, RATE, SCORE_TITLE, found_objective, points_text
from results.tables import ESTIMATE, estimate_cell
from results.wording import difference, listed, number, span

#: What stands in a sentence for a way of choosing.
NAMES = {
    "fixed": "λ set beforehand",
    "grid": "λ chosen on the development split from a grid",
    "metagpt": "λ from the norms of the task vectors",
    "search": "λ searched for on the development split",
}
_GAP = ("difference", "ci_low", "ci_high")


def choosing_table(found: SweepAnalysis, brief: bool = False) -> Table | None:
    """What each way of choosing λ chose and scored; None where the sweep has one way alone.

    Args:
        found: the sweep.
        brief: without the intervals of scores, for a terminal.
    """
    if not found.ways:
        return None
    names, reference = _names(found), reference_of(found.sweep)
    rows = []
    for (merge, label), ways in found.ways.items():
        best = _best(ways)
        cells = [cell for name in names for cell in _cells(ways.get(name), name, reference, name in best, brief)]
        rows.append(Row(label, merge, tuple(cells)))
    means = {name: _mean(found, name) for name in names}
    if len(rows) > 1 and any(means.values()):
        cells = []
        for name in names:
            mean = means[name]
            cells += [NONE, NONE] + ([_gap_cell(mean[0]) if mean else NONE] if name != reference else []) + [NONE]
        rows.append(Row("mean", "all methods and merges", tuple(cells)))
    columns = []
    for name in names:
        columns += [Column("λ", name, key="λ"), Column(SCORE_TITLE[found.objective], name, ESTIMATE, found.objective)]
        columns += [Column(f"− {reference}", name, _GAP, f"minus {reference}")] if name != reference else []
        columns.append(Column("ppl", name, key="wikitext"))
    meant = "; ".join(f"{name}: {NAMES.get(name, name)}" for name in names)
    notes = (
        f"Test scores at the λ of each way of choosing. {meant}. Best of a row in bold.",
        *found_objective(found),
        _gap_note(found, reference),
        *[f"{UNSTABLE} unstable there for some seed, which is in no mean."]
        * any(way.unstable for ways in found.ways.values() for way in ways.values()),
    )
    return Table("choosing", "Ways of choosing λ: test scores", tuple(columns), tuple(rows), notes)


def choosing_answers(found: SweepAnalysis) -> tuple[Answer, ...]:
    """Whether another way than a fixed λ pays, in a sentence; nothing where the sweep has one way alone."""
    reference = reference_of(found.sweep)
    told = {name: mean for name in _names(found) if name != reference and (mean := _mean(found, name))}
    if not told:
        return ()
    parts = [
        f"{NAMES.get(name, name)} stands at {_shown(gap)}, {'clear of noise' if gap.clear else 'not clear of noise'} "
        f"(mean over {count} method{'s' * (count > 1)} and merges)"
        for name, (gap, count) in told.items()
    ]
    top = max(told, key=lambda name: told[name][0].value)
    best = told[top][0]
    text = f"Against {NAMES.get(reference, reference)}, {listed(parts)}."
    short = f"{top} {difference(RATE, best.value)} points" if best.value > 0 else f"no better than {reference}"
    return (Answer("Does another way of choosing λ pay?", short, text, best.clear and best.value > 0),)


def _names(found: SweepAnalysis) -> list[str]:
    return in_order(name for ways in found.ways.values() for name in ways)


def _mean(found: SweepAnalysis, name: str) -> tuple[Gap, int] | None:
    """Mean difference from the reference over methods (no controls) and merges, and over how many."""
    is_control = found.chosen.lineup.is_control
    gaps = [ways[name].gap for (_, label), ways in found.ways.items() if name in ways and not is_control(label)]
    have = [gap for gap in gaps if gap is not None]
    return (mean_gap(have, common), len(have)) if have and (common := common_seeds(have)) else None


def _best(ways: dict[str, Way]) -> set[str]:
    """The ways with the highest score of a row, as written; none where all are as high."""
    shown = {name: number(RATE, way.score.value) for name, way in ways.items() if way.score and not way.unstable}
    top = max(shown.values(), key=float, default="")
    leaders = {name for name, text in shown.items() if text == top}
    return leaders if len(leaders) < len(shown) else set()


def _cells(way: Way | None, name: str, reference: str, best: bool, brief: bool) -> list[Cell]:
    if way is None:
        return [NONE] * (3 if name == reference else 4)
    broken = UNSTABLE * bool(way.unstable)
    have = [point for point in way.chosen.values() if point is not None]
    some = f"({len(have)} of {len(way.chosen)} seeds)" if len(have) < len(way.chosen) else ""
    cells = [
        Cell(_mean_point(have), some, raw=(points_text(way.chosen.values()),)),
        estimate_cell(RATE, way.score, broken, best, brief),
    ]
    cells += [_gap_cell(way.gap)] if name != reference else []
    return [*cells, Cell(number("wikitext", way.perplexity), raw=(way.perplexity,))]


def _mean_point(points: list[str]) -> str:
    """λ as a mean over seeds, one number a task in the order of the experts' names."""
    values = [[lam for _, lam in sorted(lambdas_of(point).items())] for point in points]
    if len({len(row) for row in values}) != 1:
        return points_text(points)
    return ",".join(f"{math.fsum(column) / len(column):.3g}" for column in zip(*values, strict=True))


def _gap_cell(gap: Gap | None) -> Cell:
    if gap is None:
        return NONE
    marks = EXPLORED * gap.clear
    raw = (gap.value, gap.low, gap.high)
    return Cell(difference(RATE, gap.value), span(RATE, gap.low, gap.high, True), marks, raw=raw)


def _shown(gap: Gap) -> str:
    return f"{difference(RATE, gap.value)} points {span(RATE, gap.low, gap.high, True)}"


def _gap_note(found: SweepAnalysis, reference: str) -> str:
    seeds = len(found.seeds)
    gaps = [way.gap for ways in found.ways.values() for way in ways.values() if way.gap is not None]
    some = " and the seeds that all of these have" if any(len(gap.seeds) < seeds for gap in gaps) else ""
    agree = " and every seed agrees in sign" if seeds > 1 else ""
    many = f" λ and scores are means over {seeds} seeds." if seeds > 1 else ""
    what = f"− {reference}: paired difference of the score, in points; {EXPLORED} its 95 % interval excludes 0{agree}"
    return f"{what} (exploratory, uncorrected); the mean is over methods without controls{some}." + many
