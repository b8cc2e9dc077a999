"""Pareto fronts of perplexity against task score over λ: a panel a merge, a line a method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.curves import FEWEST, Curve, labels_of, merges_of
from results.analysis.pareto import Front, front
from results.figures.drawing import INK, MUTED, PAPER, RULE, SERIES, new_figure, place
from results.study.lineup import Lineup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "D", "s", "^", "v", "P")
#: A panel reaches this many times as far on the log axis as the fronts do; points further right are only counted.
_REACH = 1.5
#: More methods than this in a panel cannot be told apart; controls are then left out.
_MOST = len(SERIES)


def pareto_fronts(curves: Mapping[tuple[str, str], Curve], lineup: Lineup) -> tuple[Figure, str] | None:
    """Fronts over λ with direct labels, the λ beside points of the fronts; None where no merge has two λ.

    Methods with too few λ for a curve are drawn only where no method of the merge has more.
    """
    merges = [merge for merge in merges_of(curves) if labels_of(curves, merge, 2)]
    if not merges:
        return None
    columns = min(2, len(merges))
    rows = math.ceil(len(merges) / columns)
    wide, tall = (5.6, 4.3) if columns > 1 else (7.6, 5.0)
    size = wide * columns, tall * rows + 0.2
    figure, panels = new_figure(*size, rows, columns)
    figure.subplots_adjust(
        left=0.62 / size[0],
        right=1 - 0.15 / size[0],
        top=1 - 0.35 / size[1],
        bottom=0.55 / size[1],
        hspace=0.24,
        wspace=0.14,
    )
    drawn = {merge: labels_of(curves, merge, FEWEST) or labels_of(curves, merge) for merge in merges}
    styles = series_of(_shown(drawn, lineup), lineup)
    for axes, merge in zip(panels.flat, merges, strict=False):
        _panel(axes, [front(curves[merge, label]) for label in styles if label in drawn[merge]], merge, styles)
    for axes in panels.flat[len(merges) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("mean of the merged tasks (%)")
    for axes in panels.flat[max(0, len(merges) - columns) : len(merges)]:
        axes.set_xlabel("word perplexity (log scale, lower is better)")
    left_out = [label for labels in drawn.values() for label in labels if label not in styles]
    caption = (
        "Perplexity against the mean score of the merged tasks over λ (numbers beside points); up and to the left is "
        "better. Lines join each method’s Pareto front, from pre at λ = 0; its other points are faint. Unstable "
        "points are not drawn."
    )
    if left_out:
        caption += f" Left out for room: {', '.join(dict.fromkeys(left_out))}."
    return figure, caption


def series_of(labels: list[str], lineup: Lineup) -> dict[str, tuple[str, str]]:
    """Label → (colour, marker), at most six: blue for the baseline, vermilion for the first LATA schedule."""
    baseline = lineup.baseline
    lata = next((label for label in labels if lineup.is_lata(label) and label != baseline), None)
    fixed = {baseline: 0, **({lata: 1} if lata else {})}
    rest = iter(place for place in range(len(SERIES)) if place not in [fixed[n] for n in labels if n in fixed])
    places = {label: fixed[label] if label in fixed else next(rest) for label in labels}
    return {label: (SERIES[at], _MARKERS[at]) for label, at in places.items()}


def _shown(drawn: dict[str, list[str]], lineup: Lineup) -> list[str]:
    """The methods that are drawn, at most as many as there are colours: the controls make room first."""
    labels = list(dict.fromkeys(label for own in drawn.values() for label in own))
    if len(labels) > _MOST:
        labels = [label for label in labels if not lineup.is_control(label)]
    order = sorted(labels, key=lambda label: (label != lineup.baseline, not lineup.is_lata(label)))[:_MOST]
    return [label for label in labels if label in order]


def _panel(axes: Axes, fronts: list[Front], merge: str, styles: dict[str, tuple[str, str]]) -> None:
    axes.set_title(merge, loc="left", fontweight="bold", pad=8)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.set_xscale("log")
    points = np.array(
        [
            (ppl, 100 * score, on)
            for made in fronts
            for ppl, score, on in zip(made.ppl_P, made.score_P, made.front_P, strict=True)
            if math.isfinite(ppl)
        ]
    )
    if not len(points):
        return
    logs = np.log(points[:, 0])
    on = points[:, 2] > 0
    end = logs.min() + _REACH * max(float(logs[on].max() - logs.min()), 0.02)
    near = logs <= end
    _limits(axes, points[near, :2])
    if not near.all():
        text = f"{int((~near).sum())} more to the right →"
        axes.text(0.99, 0.02, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=7.5, color=MUTED)
    for made in fronts:
        _line(axes, made, *styles[made.label])
    _names(axes, fronts, styles)


def _line(axes: Axes, made: Front, colour: str, marker: str) -> None:
    """A front as a line through its points; the rest faint."""
    on = [p for p in np.argsort(made.ppl_P, kind="stable") if made.front_P[p]]
    off = [p for p in range(len(made.points)) if not made.front_P[p] and math.isfinite(made.ppl_P[p]) and p > 0]
    score = 100 * made.score_P
    axes.plot(made.ppl_P[on], score[on], "-", color=colour, linewidth=1.5, zorder=2)
    kind: dict[str, Any] = {"markersize": 5, "linestyle": "none", "marker": marker, "markeredgecolor": colour}
    own = [p for p in on if p > 0]
    axes.plot(made.ppl_P[own], score[own], markerfacecolor=colour, markeredgewidth=0.8, zorder=3, **kind)
    axes.plot(made.ppl_P[off], score[off], markerfacecolor=PAPER, markeredgewidth=1, alpha=0.45, zorder=2, **kind)
    if math.isfinite(made.ppl_P[0]):
        axes.plot(made.ppl_P[:1], score[:1], "o", markersize=6, markerfacecolor=PAPER, markeredgecolor=INK, zorder=4)


def _limits(axes: Axes, points: np.ndarray) -> None:
    """Room for names around the points, and plain numbers on the log axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    logs = np.log(points[:, 0])
    wide, tall = max(float(np.ptp(logs)), 0.02), max(float(np.ptp(points[:, 1])), 4.0)
    axes.set_xlim(np.exp(logs.min() - 0.06 * wide), np.exp(logs.max() + 0.1 * wide))
    axes.set_ylim(points[:, 1].min() - 0.08 * tall, points[:, 1].max() + 0.12 * tall)
    low, high = axes.get_xlim()
    count = 7
    steps = np.exp(np.linspace(np.log(low), np.log(high), count)) if high > 2 * low else None
    ticks = MaxNLocator(6).tick_values(low, high) if steps is None else [float(f"{x:.2g}") for x in steps]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _names(axes: Axes, fronts: list[Front], styles: dict[str, tuple[str, str]]) -> None:
    """Each method's name at the end of its front, λ beside the other points of the front, "pre" at the start."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patheffects import withStroke

    figure: Any = axes.figure
    texts: list[tuple[float, float, str, str, float, str]] = []  # x, y, text, colour, size, weight
    for made in fronts:
        colour = styles[made.label][0]
        on = [p for p in np.argsort(made.ppl_P, kind="stable") if made.front_P[p] and p > 0]
        for p in on:
            last = p == on[-1]
            weight = "bold" if last else "normal"
            text = f"{made.label} λ={made.points[p]}" if last else made.points[p]
            texts.append((made.ppl_P[p], 100 * made.score_P[p], text, colour, 8.0 if last else 6.8, weight))
    start = next((made for made in fronts if math.isfinite(made.ppl_P[0])), None)
    if start is not None:
        texts.append((start.ppl_P[0], 100 * start.score_P[0], "pre", MUTED, 8.0, "normal"))
    pixels = axes.transData.transform(np.array([text[:2] for text in texts]))
    renderer = figure.canvas.get_renderer()
    per_point = figure.dpi / 72
    sizes = np.array(
        [
            (
                renderer.get_text_width_height_descent(text, FontProperties(size=size, weight=weight), False)[0],
                size * 1.15 * per_point,
            )
            for _, _, text, _, size, weight in texts
        ]
    )
    box = axes.get_window_extent()
    corners = place(pixels, sizes, (box.x0, box.y0, box.x1, box.y1))
    back = axes.transData.inverted()
    for (_, _, text, colour, size, weight), pixel, corner, extent in zip(texts, pixels, corners, sizes, strict=True):
        nearest = np.clip(pixel, corner, corner + extent)
        if np.hypot(*(nearest - pixel)) > 11 * per_point:
            line = back.transform(np.stack([pixel, nearest]))
            axes.plot(line[:, 0], line[:, 1], color=MUTED, linewidth=0.5, zorder=1)
        x, y = back.transform(corner + extent / 2)
        drawn = axes.text(
            x, y, text, fontsize=size, ha="center", va="center_baseline", color=colour, fontweight=weight
        )
        drawn.set_path_effects([withStroke(linewidth=2, foreground=PAPER)])
