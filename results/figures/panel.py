"""Panels over λ: a line a method with its band, rings at chosen points, crosses at unstable ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.curves import PPL, Curve
from results.figures.drawing import INK, MUTED, RULE, SERIES, new_figure, spread
from results.figures.pareto import series_of
from results.study.lineup import Lineup
from results.study.selection import UNSTABLE_RATIO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REST = (MUTED, ".")  # methods beyond the colours that can be told apart
_TOP = 2.5  # perplexities are drawn up to this many times the limit


def canvas(title: str, count: int) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, two in a row, and room for names right of each."""
    rows = math.ceil(count / 2)
    width, height = 11.4, 3.15 * rows + 0.65
    figure, panels = new_figure(width, height, rows, 2)
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 1.2 / width, top=1 - 0.65 / height, bottom=0.5 / height, hspace=0.3, wspace=0.42
    )
    figure.text(0.6 / width, 1 - 0.2 / height, title, fontsize=11, fontweight="bold", va="center")
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    for axes in panels.flat[max(0, count - 2) : count]:
        axes.set_xlabel("λ")
    return figure, list(panels.flat[:count])


def styles_of(labels: list[str], lineup: Lineup) -> dict[str, tuple[str, str, bool]]:
    """Label → (colour, marker, whether its name is bold, as LATA's are): six colours, then grey, controls first."""
    count = len(SERIES)
    own = [label for label in labels if not lineup.is_control(label)] if len(labels) > count else labels
    first = sorted(own, key=lambda label: (label != lineup.baseline, not lineup.is_lata(label)))[:count]
    series = series_of([label for label in labels if label in first], lineup)
    return {label: (*series.get(label, _REST), lineup.is_lata(label)) for label in labels}


def panel(
    axes: Axes,
    curves: Sequence[Curve],
    name: str,
    title: str,
    styles: Mapping[str, tuple[str, str, bool]],
    chosen: Mapping[str, Collection[str | None]],
    limit: float = math.inf,
) -> None:
    """One quantity over λ, a line a method.

    Args:
        axes: where to draw.
        curves: the methods of one merge.
        name: the quantity, a key of `Curve.scored`.
        title: its heading.
        styles: see `styles_of`.
        chosen: label → the points to ring.
        limit: where the axis of a perplexity ends (`perplexity_axis`).
    """
    scale = 1.0 if name == PPL else 100.0
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    ends = []
    for curve in sorted(curves, key=lambda curve: styles[curve.label][:2] != _REST):
        if name in curve.scored:
            ends.append(_line(axes, curve, name, scale, limit, styles[curve.label][:2], chosen.get(curve.label, ())))
    if name != PPL:
        low, high = axes.get_ylim()
        # A score that is 0 all along is a line at the foot, not noise magnified.
        axes.set_ylim(min(0.0, low) if high - low > 1 else -0.5, max(high, 10.0))
    lams = sorted({float(curve.lam_P[place]) for curve in curves for place in curve.line})
    axes.set_xlim(lams[0] - 0.03 * np.ptp(lams), lams[-1] + 0.03 * np.ptp(lams))
    if len(lams) <= 16:
        shown = lams[:: math.ceil(len(lams) / 10)]
        axes.set_xticks(shown, [f"{lam:g}" for lam in shown])
    _names(axes, [end for end in ends if end is not None], styles)


def perplexity_axis(
    axes: Axes, curves: Sequence[Curve], start: float | None, word: str, base: float | None, base_word: str
) -> float:
    """A log axis that ends a little above the limit of stability; returns where it ends.

    Args:
        axes: where to draw.
        curves: the methods of one merge.
        start: perplexity at λ = 0, drawn as a dotted line.
        word: what stands beside it.
        base: the perplexity whose tenfold is the limit, drawn as a dashed line.
        base_word: its name.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    values = np.concatenate(
        [curve.scored[PPL].value_PS[curve.line].ravel() for curve in curves if PPL in curve.scored]
    )
    values = values[np.isfinite(values)]
    if not len(values):
        return math.inf
    if start is None or base is None:
        return float(values.max())
    limit = UNSTABLE_RATIO * base
    top = _TOP * limit if values.max() > limit / 2 else float(values.max()) * 1.15
    axes.set_ylim(0.82 * min(float(values.min()), start), top)
    axes.axhline(start, color=MUTED, linestyle=":", linewidth=1, zorder=1)
    where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 7.5, "color": MUTED}
    axes.text(0.99, start, word, ha="right", va="top", **where)
    if top > limit:
        axes.axhline(limit, color=MUTED, linestyle=(0, (4, 2)), linewidth=1, zorder=1)
        axes.text(0.01, limit, f"10 × {base_word}: unstable above", va="bottom", **where)
    return top


def _line(
    axes: Axes,
    curve: Curve,
    name: str,
    scale: float,
    limit: float,
    style: tuple[str, str],
    chosen: Collection[str | None],
) -> tuple[str, float, float] | None:
    """One method; returns its name and the end of its line."""
    colour, marker = style
    rest = style == _REST
    line = [place for place in curve.line if curve.present_PS[place].any()]
    whole = [p for p in line if not curve.unstable_PS[p].any() and curve.estimates[name][p] is not None]
    lam, value = curve.lam_P, {p: scale * curve.estimates[name][p].value for p in whole}  # type: ignore[union-attr]
    broken = [p for p in line if p not in whole]
    for place in broken:
        values = scale * curve.scored[name].value_PS[place][curve.present_PS[place]]
        values = values[np.isfinite(values)]
        at = float(values.mean()) if len(values) else (limit if name == PPL else 0.0)
        shown = min(at, 0.93 * limit) if name == PPL else at
        axes.plot([lam[place]], [shown], "x", color=colour, markersize=5, markeredgewidth=1.3, alpha=0.75, zorder=2)
    if not whole:
        return None
    x, y = lam[whole], np.array([value[p] for p in whole])
    axes.plot(x, y, "-", color=colour, linewidth=0.9 if rest else 1.6, zorder=3, alpha=0.6 if rest else 1)
    axes.plot(x, y, marker, linestyle="none", color=colour, markersize=3.5 if rest else 4.5, zorder=4)
    if not rest:
        low, high = _band(curve, name, whole)
        axes.fill_between(x, scale * low, scale * high, color=colour, alpha=0.13, linewidth=0, zorder=1.5)
    rings = [place for place in whole if curve.points[place] in chosen]
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 1.2}
    axes.plot(lam[rings], [value[p] for p in rings], "o", markersize=9.5, zorder=5, **ring)
    return curve.label, float(x[-1]), float(y[-1])


def _band(curve: Curve, name: str, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The range of the seeds, or the interval of the only one."""
    if len(curve.seeds) > 1:
        values = curve.scored[name].value_PS[places]
        return np.nanmin(values, axis=1), np.nanmax(values, axis=1)
    found = [curve.estimates[name][place] for place in places]
    return np.array([one.low for one in found if one]), np.array([one.high for one in found if one])


def _names(axes: Axes, ends: list[tuple[str, float, float]], styles: Mapping[str, tuple[str, str, bool]]) -> None:
    """Names right of the panel, each joined to the end of its line, moved apart where lines end together."""
    if not ends:
        return
    figure: Any = axes.figure
    height = axes.get_window_extent().height / figure.dpi * 72  # points
    pixels = axes.transData.transform(np.array([[x, y] for _, x, y in ends]))
    box = axes.transAxes.inverted().transform(pixels)
    order = np.clip(box[:, 1], 0.02, 0.98)
    gap = min(9.6 / height, 1.0 / len(ends))
    heights = spread(order, gap)
    heights = heights - max(0.0, float(heights.max()) - 1) + max(0.0, -float(heights.min()))
    for (label, _, _), (x, y), at in zip(ends, box, heights, strict=True):
        colour, marker, is_bold = styles[label]
        axes.plot(
            [x, 1.015], [min(y, 1.0), at], "-", color=colour, linewidth=0.6, alpha=0.4, transform=axes.transAxes,
            clip_on=False, zorder=1,
        )  # fmt: skip
        axes.plot([1.028], [at], "s", color=colour, markersize=4, transform=axes.transAxes, clip_on=False)
        bold = "bold" if is_bold else "normal"
        ink = MUTED if (colour, marker) == _REST else INK
        axes.text(1.043, at, label, transform=axes.transAxes, fontsize=8, va="center", color=ink, fontweight=bold)
