"""Perplexity against task score: a panel a merge, every method labelled where it stands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.analysis import Analysis
from results.figures.drawing import INK, MUTED, RULE, draw_dots, new_figure, place, stable_limit, usable
from results.study.lineup import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def tradeoff(analysis: Analysis) -> tuple[Figure, str] | None:
    """Perplexity against the mean score of the merged tasks: a panel a merge, methods labelled directly."""
    merges = [merge for merge in analysis.lineup.merges("learn") if analysis.lineup.members(merge)]
    if not merges or "wikitext" not in analysis.measures:
        return None
    columns = min(2, len(merges))
    rows = math.ceil(len(merges) / columns)
    figure, panels = new_figure(5.4 * columns, 3.7 * rows + 0.2, rows, columns)
    figure.subplots_adjust(
        left=0.62 / (5.4 * columns),
        right=1 - 0.15 / (5.4 * columns),
        top=1 - 0.35 / (3.7 * rows + 0.2),
        bottom=0.55 / (3.7 * rows + 0.2),
        hspace=0.24,
        wspace=0.14,
    )
    for axes, merge in zip(panels.flat, merges, strict=False):
        _tradeoff_panel(analysis, axes, merge)
    for axes in panels.flat[len(merges) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("mean of the merged tasks (%)")
    for axes in panels.flat[max(0, len(merges) - columns) : len(merges)]:
        axes.set_xlabel("word perplexity (log scale, lower is better)")
    caption = (
        "Perplexity against the mean score of the merged tasks; up and to the left is better. Blue: baselines, "
        "vermilion: LATA, hollow grey: controls. Unstable merges are left out."
    )
    return figure, caption


def _tradeoff_panel(analysis: Analysis, axes: Axes, merge: str) -> None:
    names, points = [], []
    for label in analysis.lineup.labels("learn", merge):
        key = Model("learn", merge, label)
        ppl = analysis.estimates["wikitext"].get(key)
        tasks = [analysis.estimates.get(task, {}).get(key) for task in analysis.lineup.members(merge)]
        if ppl is None or None in tasks or not usable(ppl.value, stable_limit(analysis, "wikitext")):
            continue
        names.append(label)
        points.append((ppl.value, 100 * float(np.mean([task.value for task in tasks if task]))))
    axes.set_title(merge, loc="left", fontweight="bold", pad=8)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    if not points:
        return
    array = np.array(points)
    axes.set_xscale("log")
    _limits(axes, array)
    groups = [analysis.lineup.group_of(name) for name in names]
    draw_dots(axes, [x for x, _ in points], [y for _, y in points], groups, [])
    _label(axes, array, names, groups)


def _limits(axes: Axes, points: np.ndarray) -> None:
    """Room for labels around the points, and plain tick labels on the log axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    logs = np.log(points[:, 0])
    wide = max(float(np.ptp(logs)), 0.02)
    axes.set_xlim(np.exp(logs.min() - 0.22 * wide), np.exp(logs.max() + 0.22 * wide))
    tall = max(float(np.ptp(points[:, 1])), 4.0)
    axes.set_ylim(points[:, 1].min() - 0.16 * tall, points[:, 1].max() + 0.16 * tall)
    low, high = axes.get_xlim()
    ticks = [t for t in MaxNLocator(6).tick_values(low, high) if low <= t <= high]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(axes: Axes, points: np.ndarray, names: list[str], groups: list[str], size: float = 8.0) -> None:
    """Names beside their points without overlap; a thin line where a name had to move away."""
    from matplotlib.font_manager import FontProperties

    figure: Any = axes.figure
    pixels = axes.transData.transform(points)
    per_point = figure.dpi / 72
    renderer = figure.canvas.get_renderer()
    fonts = {True: FontProperties(size=size, weight="bold"), False: FontProperties(size=size)}
    widths = [
        renderer.get_text_width_height_descent(name, fonts[group == "lata"], False)[0]
        for name, group in zip(names, groups, strict=True)
    ]
    sizes = np.stack([widths, np.full(len(names), size * 1.15 * per_point)], axis=1)
    box = axes.get_window_extent()
    corners = place(pixels, sizes, (box.x0, box.y0, box.x1, box.y1))
    back = axes.transData.inverted()
    for name, group, pixel, corner, extent in zip(names, groups, pixels, corners, sizes, strict=True):
        nearest = np.clip(pixel, corner, corner + extent)
        if np.hypot(*(nearest - pixel)) > 11 * per_point:
            line = back.transform(np.stack([pixel, nearest]))
            axes.plot(line[:, 0], line[:, 1], color=MUTED, linewidth=0.6, zorder=1)
        x, y = back.transform(corner + extent / 2)
        weight = "bold" if group == "lata" else "normal"
        colour = MUTED if group == "control" else INK
        axes.text(x, y, name, fontsize=size, ha="center", va="center_baseline", color=colour, fontweight=weight)
