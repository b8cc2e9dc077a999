"""Every point of a sweep: a table a merge, and the grid over one λ a task."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from results.analysis.analysis import SweepAnalysis
from results.analysis.curves import NORMALISED, PPL, RAW, Curve, grid_experts, is_grid
from results.statistics.estimates import Estimate
from results.study.lineup import Model
from results.study.sweep import lambdas_of
from results.study.wording import heading_of, listed, number
from results.tables.learning import DISTANCE, ESTIMATE, estimate_cell
from results.tables.sweep import RATE, found_objective
from results.tables.table import UNSTABLE, Cell, Column, Row, Table


def points_table(analysis: SweepAnalysis, merge: str) -> Table:
    """One merge: every λ of every method with perplexity, merged tasks and their means, and the distance moved."""
    lineup = analysis.chosen.lineup
    tasks = [task for task in (PPL, *analysis.members(merge)) if task in analysis.chosen.measures]
    names = tasks + [name for name in (RAW, NORMALISED) if any(name in c.scored for c in analysis.of(merge))]
    rows = []
    for label in ("pre", *lineup.experts(merge)):
        key = Model("model", "", label)
        cells = [estimate_cell(task, analysis.chosen.estimates.get(task, {}).get(key)) for task in tasks]
        if key in lineup.position:
            rows.append(Row(label, "models", (*cells, *[Cell("–")] * (len(names) - len(tasks) + 1))))
    for curve in analysis.of(merge):
        best = {name: best_places(analysis, curve, name) for name in names}
        chosen = analysis.choices[curve.merge, curve.label].chosen
        for place, point in enumerate(curve.points):
            marks = UNSTABLE if curve.unstable_PS[place].any() else ""
            cells = [
                estimate_cell(_as_task(name), estimate_at(curve, name, place), marks, place in best[name])
                for name in names
            ]
            distance = float(curve.distance_P[place])
            cells.append(Cell("–" if math.isnan(distance) else f"{distance:.2f}", raw=(distance,)))
            rows.append(Row(point_name(chosen, point), curve.label, tuple(cells)))
    columns = [Column(_title(name), "", ESTIMATE, name) for name in names]
    title = f"Learning {listed(lineup.experts(merge))} at every λ"
    return Table(f"points_{merge}", title, (*columns, DISTANCE), tuple(rows), _notes(analysis), "λ")


def grid_table(analysis: SweepAnalysis, merge: str) -> Table | None:
    """One λ a task: the mean score over the grid of the first two experts, a block for each method and further λ."""
    curves = [curve for curve in analysis.of(merge) if is_grid(curve) and analysis.objective in curve.scored]
    if not curves:
        return None
    experts = grid_experts(curves[0])
    steps = [sorted({lambdas_of(p)[e] for c in curves for p in c.points if "=" in p}) for e in experts]
    down, across, *rest = steps
    rows = []
    for curve in curves:
        best, at = (
            best_places(analysis, curve, analysis.objective),
            {point: i for i, point in enumerate(curve.points)},
        )
        for further in itertools.product(*rest):
            others = [f"λ of {e} {lam:g}" for e, lam in zip(experts[2:], further, strict=True)]
            for first in down:
                cells = []
                for second in across:
                    lams = zip(experts, (first, second, *further), strict=True)
                    place = at.get(",".join(f"{expert}={lam:g}" for expert, lam in lams))
                    cells.append(_grid_cell(analysis, curve, place, best))
                rows.append(Row(f"{first:g}", ", ".join([curve.label, *others]), tuple(cells)))
    columns = tuple(Column(f"{lam:g}", f"λ of {experts[1]}", ESTIMATE, f"{experts[1]}={lam:g}") for lam in across)
    title = f"{merge}, one λ a task: {'normalised' if analysis.objective == NORMALISED else 'mean'} score (%)"
    return Table(f"grid_{merge}", title, columns, tuple(rows), _notes(analysis), f"λ of {experts[0]}")


def estimate_at(curve: Curve, name: str, place: int) -> Estimate | None:
    """One quantity at one point."""
    return curve.estimates[name][place] if name in curve.estimates else None


def best_places(analysis: SweepAnalysis, curve: Curve, name: str) -> set[int]:
    """The points of a method, stable for all seeds, whose value as written is its best."""
    task = _as_task(name)
    sign = analysis.chosen.lineup.direction("learn", curve.merge, task) if name == task else 1
    values = {}
    for place in range(len(curve.points)):
        one = estimate_at(curve, name, place)
        if one is not None and math.isfinite(one.value) and not curve.unstable_PS[place].any():
            values[place] = one.value
    if len(values) < 2:
        return set()
    top = number(task, max(values.values(), key=lambda value: sign * value))
    best = {place for place, value in values.items() if number(task, value) == top}
    return best if len(best) < len(values) else set()


def _as_task(name: str) -> str:
    return RATE if name in (RAW, NORMALISED) else name


def _title(name: str) -> str:
    if name in (RAW, NORMALISED):
        return {RAW: "mean (%)", NORMALISED: "norm. (%)"}[name]
    return heading_of(name)


def point_name(chosen: Mapping[int, str | None], point: str) -> str:
    """A λ, and for which seeds it was chosen.

    Args:
        chosen: seed → what was chosen.
        point: the λ.
    """
    seeds = [seed for seed, own in chosen.items() if own == point]
    if not seeds:
        return point
    return f"{point} (chosen)" if len(seeds) == len(chosen) else f"{point} (chosen, seed {listed_seeds(seeds)})"


def listed_seeds(seeds: list[int]) -> str:
    """0,2."""
    return ",".join(map(str, seeds))


def _grid_cell(analysis: SweepAnalysis, curve: Curve, place: int | None, best: set[int]) -> Cell:
    if place is None:
        return Cell("–")
    marks = UNSTABLE if curve.unstable_PS[place].any() else ""
    one = estimate_at(curve, analysis.objective, place)
    chosen = curve.points[place] in analysis.choices[curve.merge, curve.label].chosen.values()
    cell = estimate_cell(RATE, one, marks, place in best, brief=True)
    return Cell(cell.text, "chosen" if chosen else "", cell.marks, cell.best, cell.raw)


def _notes(analysis: SweepAnalysis) -> tuple[str, ...]:
    seeds = len(analysis.seeds)
    many = f", {seeds} seeds" if seeds > 1 else ""
    notes = [f"Test split{many}. The best λ of each method in bold, stable ones only.", *found_objective(analysis)]
    if any(curve.unstable_PS.any() for curve in analysis.curves.values()):
        text = f"{UNSTABLE} unstable (not finite, or over 10 × pre's perplexity)"
        text += " for at least one seed; the mean is over the stable seeds, where there is one" if seeds > 1 else ""
        notes.append(text + "; never counted as best.")
    return tuple(notes)
