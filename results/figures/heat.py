"""Heat maps of one λ a task: the mean score over the grid of two experts, a panel a method.

With three experts or more each panel shows the grid of two of them, and in every cell the best stable score over the
others, in a row of panels for each pair. Points of a search, which fill no grid, are drawn as dots.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from results.analysis.analysis import SweepAnalysis
from results.analysis.curves import NORMALISED, Curve, grid_experts, is_grid
from results.figures.drawing import INK, MUTED, PAPER, new_figure
from results.study.sweep import lambdas_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAP = "cividis"
_ACROSS = 4  # panels in a row


def heat_map(analysis: SweepAnalysis, merge: str) -> tuple[Figure, str] | None:
    """The heat maps of one merge; None where no method has points with one λ a task for two experts."""
    curves = [curve for curve in analysis.of(merge) if len(_tasked(curve)) > 1 and analysis.objective in curve.scored]
    curves = [curve for curve in curves if len(grid_experts(curve)) > 1]
    if not curves:
        return None
    pairs = list(itertools.combinations(grid_experts(curves[0]), 2))
    panels_wanted = [(curve, pair) for pair in pairs for curve in curves]
    columns = min(_ACROSS, len(curves))
    rows = len(pairs) * math.ceil(len(curves) / columns)
    width, height = 2.75 * columns + 1.0, 2.6 * rows + 0.6
    figure, panels = new_figure(width, height, rows, columns)
    edges = {"top": 1 - 0.6 / height, "bottom": 0.5 / height, "hspace": 0.42, "wspace": 0.28}
    figure.text(0.6 / width, 1 - 0.2 / height, f"{merge}, one λ a task", fontsize=11, fontweight="bold", va="center")
    figure.subplots_adjust(left=0.6 / width, right=1 - 0.85 / width, **edges)
    values = np.concatenate([_score(analysis, curve)[0] for curve in curves])
    span = (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 1.0)
    block = columns * math.ceil(len(curves) / columns)
    used = set()
    for at, (curve, pair) in enumerate(panels_wanted):
        place = at // len(curves) * block + at % len(curves)
        used.add(place)
        _panel(panels.flat[place], analysis, curve, pair, span)
    for place, axes in enumerate(panels.flat):
        axes.set_visible(place in used)
    _bar(figure, span, analysis, height)
    return figure, _caption(analysis, merge, len(pairs) > 1, all(is_grid(curve) for curve in curves))


def _caption(analysis: SweepAnalysis, merge: str, several: bool, grid: bool) -> str:
    what = "mean of each task’s score over its expert’s own" if analysis.objective == NORMALISED else "mean score"
    others = " Each cell holds the best stable score over the λ of the other experts." if several else ""
    shape = "cells" if grid else "dots"
    return (
        f"{merge}, one λ a task: {what} (%) on the test split. Frames: {analysis.choosing}. Hatched "
        f"{shape}: unstable, without a number.{others}"
    )


def _tasked(curve: Curve) -> list[int]:
    return [place for place, point in enumerate(curve.points) if "=" in point]


def _score(analysis: SweepAnalysis, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Score (%) of each point with one λ a task, NaN where it is unstable for a seed; and which are unstable."""
    places = _tasked(curve)
    broken = np.asarray(curve.unstable_PS[places].any(axis=1))
    own = [curve.estimates[analysis.objective][place] for place in places]
    values = np.array([math.nan if one is None else 100 * one.value for one in own])
    return np.where(broken, np.nan, values), broken


def _panel(
    axes: Axes, analysis: SweepAnalysis, curve: Curve, pair: tuple[str, str], span: tuple[float, float]
) -> None:
    down, across = pair
    score, broken = _score(analysis, curve)
    lams = [lambdas_of(curve.points[place]) for place in _tasked(curve)]
    chosen = [lambdas_of(p) for p in analysis.choices[curve.merge, curve.label].chosen.values() if p and "=" in p]
    axes.set_title(curve.label, loc="left", fontweight="bold")
    axes.set_xlabel(f"λ of {across}", labelpad=2)
    axes.set_ylabel(f"λ of {down}", labelpad=2)
    axes.tick_params(length=0)
    if is_grid(curve):
        _cells(axes, [(lam[down], lam[across]) for lam in lams], score, broken, span)
        steps_y, steps_x = (sorted({lam[expert] for lam in lams}) for expert in (down, across))
        for y, x in {(lam[down], lam[across]) for lam in chosen}:
            _frame(axes, steps_x.index(x), steps_y.index(y))
        return
    at_x, at_y = (np.array([lam[expert] for lam in lams]) for expert in (across, down))
    axes.scatter(at_x, at_y, c=score, cmap=_MAP, vmin=span[0], vmax=span[1], s=42, edgecolors=MUTED, linewidths=0.6)
    axes.plot(at_x[broken], at_y[broken], "x", color=MUTED, markersize=6)
    for lam in chosen:
        axes.plot([lam[across]], [lam[down]], "o", markersize=11, markerfacecolor="none", markeredgecolor=INK)


def _cells(
    axes: Axes, at: list[tuple[float, float]], score: np.ndarray, broken: np.ndarray, span: tuple[float, float]
) -> None:
    """The grid: in each cell the best stable score, hatched where there is none."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    steps_y, steps_x = sorted({y for y, _ in at}), sorted({x for _, x in at})
    best: dict[tuple[int, int], float] = {}
    for (y, x), value in zip(at, score.tolist(), strict=True):
        cell = (steps_x.index(x), steps_y.index(y))
        best[cell] = float(np.fmax(best.get(cell, math.nan), value))
    wide = max(len(steps_x), len(steps_y))
    for (i, j), top in best.items():
        if math.isnan(top):
            axes.add_patch(
                Rectangle((i - 0.5, j - 0.5), 1, 1, facecolor=PAPER, edgecolor=MUTED, hatch="////", linewidth=0)
            )
            continue
        share = (top - span[0]) / max(span[1] - span[0], 1e-9)
        axes.add_patch(Rectangle((i - 0.5, j - 0.5), 1, 1, facecolor=colormaps[_MAP](share), linewidth=0))
        if wide <= 9:
            ink = "#000000" if share > 0.55 else "#fefefe"
            axes.text(i, j, f"{top:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_xlim(-0.5, len(steps_x) - 0.5)
    axes.set_ylim(-0.5, len(steps_y) - 0.5)
    for axis, steps in ((axes.xaxis, steps_x), (axes.yaxis, steps_y)):
        skip = math.ceil(len(steps) / 9)
        axis.set_ticks(range(0, len(steps), skip), [f"{lam:g}" for lam in steps[::skip]])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _frame(axes: Axes, x: int, y: int) -> None:
    """A frame that shows on dark and on light cells."""
    from matplotlib.patches import Rectangle

    for colour, wide in (("#fefefe", 4.0), ("#d55e00", 2.2)):
        axes.add_patch(
            Rectangle((x - 0.44, y - 0.44), 0.88, 0.88, fill=False, edgecolor=colour, linewidth=wide, zorder=5)
        )


def _bar(figure: Figure, span: tuple[float, float], analysis: SweepAnalysis, height: float) -> None:
    """The scale of colours, as a strip of rectangles, so that the SVG holds no picture."""
    from matplotlib import colormaps

    axes = figure.add_axes(
        (1 - 0.6 / figure.get_figwidth(), 0.5 / height, 0.13 / figure.get_figwidth(), 1.7 / height)
    )
    steps = np.linspace(span[0], span[1], 41)
    for low, high in itertools.pairwise(steps):
        share = (low - span[0]) / max(span[1] - span[0], 1e-9)
        axes.axhspan(low, high, color=colormaps[_MAP](share), linewidth=0)
    axes.set_xticks([])
    axes.set_ylim(span if span[1] > span[0] else None)
    axes.yaxis.tick_right()
    axes.tick_params(length=0)
    axes.set_title("norm. (%)" if analysis.objective == NORMALISED else "mean (%)", fontsize=8, loc="left")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
