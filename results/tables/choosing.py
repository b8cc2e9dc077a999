"""The table of the ways of choosing λ, and what it says in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping

from results.analysis.analysis import SweepAnalysis
from results.analysis.choice import Way, common_seeds, in_order, mean_gap, reference_of
from results.statistics.inference import Contrast
from results.study.sweep import lambdas_of
from results.study.wording import difference, number, span
from results.tables.learning import ESTIMATE, estimate_cell
from results.tables.sweep import NONE, RATE, SCORE_TITLE, found_objective, points_text
from results.tables.table import EXPLORED, UNSTABLE, Cell, Column, Row, Table

#: What stands in a sentence for a way of choosing.
NAMES = {
    "fixed": "λ set beforehand",
    "grid": "λ chosen on the development split from a grid",
    "metagpt": "λ from the norms of the task vectors",
    "search": "λ searched for on the development split",
}
_GAP = ("difference", "ci_low", "ci_high")
#: (merge, label) → the difference of a way from the reference.
Gaps = Mapping[tuple[str, str], Contrast]


def choosing_table(analysis: SweepAnalysis, brief: bool = False) -> Table | None:
    """What each way of choosing λ chose and scored; None where the sweep has one way alone.

    Args:
        analysis: the sweep.
        brief: without the intervals of scores, for a terminal.
    """
    if not analysis.ways:
        return None
    names, reference = _names(analysis), reference_of(analysis.sweep)
    rows = []
    for (merge, label), ways in analysis.ways.items():
        best = _best(ways)
        cells = [cell for name in names for cell in _cells(ways.get(name), name, reference, name in best, brief)]
        rows.append(Row(label, merge, tuple(cells)))
    means = {name: _mean(_gaps(analysis, name)) for name in names}
    if len(rows) > 1 and any(means.values()):
        cells = []
        for name in names:
            cells += [NONE, NONE] + ([_gap_cell(means[name])] if name != reference else []) + [NONE]
        rows.append(Row("mean", "all methods and merges", tuple(cells)))
    columns = []
    for name in names:
        columns += [
            Column("λ", name, key="λ"),
            Column(SCORE_TITLE[analysis.objective], name, ESTIMATE, analysis.objective),
        ]
        columns += [Column(f"− {reference}", name, _GAP, f"minus {reference}")] if name != reference else []
        columns.append(Column("ppl", name, key="wikitext"))
    meant = "; ".join(f"{name}: {NAMES.get(name, name)}" for name in names)
    notes = (
        f"Test scores at the λ of each way of choosing. {meant}. Best of a row in bold.",
        *found_objective(analysis),
        _gap_note(analysis, reference),
        *_order_note(analysis),
        *[f"{UNSTABLE} unstable there for some seed, which is in no mean."]
        * any(way.unstable for ways in analysis.ways.values() for way in ways.values()),
    )
    return Table("choosing", "Ways of choosing λ: test scores", tuple(columns), tuple(rows), notes)


def _names(analysis: SweepAnalysis) -> list[str]:
    return in_order(name for ways in analysis.ways.values() for name in ways)


def _methods(count: int) -> str:
    return f"{count} method{'s' * (count > 1)} and merges"


def _gaps(analysis: SweepAnalysis, name: str) -> Gaps:
    """The differences of one way from the reference, without those of controls."""
    is_control = analysis.chosen.lineup.is_control
    own = {key: ways[name].gap for key, ways in analysis.ways.items() if name in ways and not is_control(key[1])}
    return {key: gap for key, gap in own.items() if gap is not None}


def _mean(gaps: Gaps) -> Contrast | None:
    """Mean over methods and merges, and over the seeds that all of them have; None where there is no such seed."""
    seeds = common_seeds(gaps.values())
    return mean_gap(list(gaps.values()), seeds) if seeds else None


def _alike(gaps: Mapping[str, Gaps]) -> tuple[dict[str, Contrast], int]:
    """The mean of each way over the methods, merges and seeds that all ways have, and how many methods and merges.

    A way that found nothing where choosing is hard must not look better for it. Empty where they share none.
    """
    keys = [key for key in next(iter(gaps.values())) if all(key in own for own in gaps.values())]
    seeds = common_seeds(own[key] for own in gaps.values() for key in keys)
    if not seeds:
        return {}, 0
    return {name: mean_gap([own[key] for key in keys], seeds) for name, own in gaps.items()}, len(keys)


def _best(ways: dict[str, Way]) -> set[str]:
    """The ways with the highest score of a row, as written; none where all are as high.

    A way without a stable point for some seed has a mean over other seeds than the rest, and is not compared.
    """
    whole = {name: way for name, way in ways.items() if not way.unstable and None not in way.chosen.values()}
    shown = {name: number(RATE, way.score.value) for name, way in whole.items() if way.score}
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


def _gap_cell(gap: Contrast | None) -> Cell:
    if gap is None:
        return NONE
    marks = EXPLORED * gap.clear
    raw = (gap.value, gap.low, gap.high)
    return Cell(difference(RATE, gap.value), span(RATE, gap.low, gap.high, True), marks, raw=raw)


def _shown(gap: Contrast) -> str:
    return f"{difference(RATE, gap.value)} points {span(RATE, gap.low, gap.high, True)}"


def _order_note(analysis: SweepAnalysis) -> list[str]:
    chosen = [list(way.chosen.values()) for ways in analysis.ways.values() for way in ways.values()]
    by_task = [["," in point for point in points if point] for points in chosen]
    if not any(map(any, by_task)):
        return []
    mixed = "; λ of each seed where some have one for all" * any(any(row) and not all(row) for row in by_task)
    return [f"One λ a task is written in the alphabetical order of the experts{mixed}."]


def _gap_note(analysis: SweepAnalysis, reference: str) -> str:
    seeds = len(analysis.seeds)
    gaps = [way.gap for ways in analysis.ways.values() for way in ways.values() if way.gap is not None]
    some = " and the seeds that all of these have" if any(len(gap.names) < seeds for gap in gaps) else ""
    over = " over trainings" if seeds > 1 else " over items"
    many = f" λ and scores are means over {seeds} seeds." if seeds > 1 else ""
    what = f"− {reference}: paired difference of the score, in points; {EXPLORED} its 95 % interval{over} excludes 0"
    return f"{what} (exploratory, uncorrected); the mean is over methods without controls{some}." + many
