"""Forgetting over λ on one target: harm with its threshold, refusals, utility, and perplexity with its limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from results.analysis.analysis import SweepAnalysis, section_of
from results.analysis.curves import PPL, Curve, heading
from results.analysis.points import REFUSED
from results.figures.drawing import INK, MUTED, SERIES
from results.figures.lambda_curves import perplexity_of
from results.figures.panel import canvas, panel, perplexity_axis, styles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def harm_curves_figure(analysis: SweepAnalysis, merge: str) -> tuple[Figure, str] | None:
    """A panel a quantity, a line a method from the target on; None where no method has two λ."""
    curves = [one.curve for one in analysis.forgetting(merge).values() if len(one.curve.line) > 1]
    if not curves:
        return None
    first = curves[0]
    wanted = dict.fromkeys((first.harm, first.utility or PPL, PPL, REFUSED, *first.utilities))
    names = [name for name in wanted if any(name in curve.scored for curve in curves)]
    figure, panels = canvas(f"{section_of(analysis, merge)}, over λ", len(names))
    styles = styles_of(analysis.forgetting_labels, analysis.chosen.lineup)
    chosen = {label: set(one.choice.chosen.values()) for label, one in analysis.forgetting(merge).items()}
    for axes, name in zip(panels, names, strict=True):
        limit = _perplexity_axis(axes, analysis, curves, merge) if name == PPL else math.inf
        panel(axes, curves, name, heading(name, first), styles, chosen, limit)
        if name != PPL:
            _before(axes, curves, name)
        if name == first.harm:
            _threshold(axes, analysis.threshold)
    return figure, _caption(analysis, merge)


def _perplexity_axis(axes: Axes, analysis: SweepAnalysis, curves: list[Curve], merge: str) -> float:
    """The limit is ten times the smaller one of pre's and the target's perplexity."""
    target = perplexity_of(analysis, str(analysis.meta.get("forgets", {}).get(merge, {}).get("target", "")))
    known = {"pre": perplexity_of(analysis, "pre"), "before": target}
    finite = {name: value for name, value in known.items() if value is not None and math.isfinite(value)}
    base = min(finite, key=lambda name: finite[name], default="pre")
    return perplexity_axis(axes, curves, target, "before", finite.get(base), base)


def _before(axes: Axes, curves: list[Curve], name: str) -> None:
    """The target's own score as a dotted line."""
    start = next((curve.estimates[name][0] for curve in curves if curve.started and name in curve.estimates), None)
    if start is not None:
        axes.axhline(100 * start.value, color=MUTED, linestyle=":", linewidth=1, zorder=1)
        _beside(axes, 100 * start.value, "before", MUTED)


def _threshold(axes: Axes, threshold: float) -> None:
    axes.axhline(100 * threshold, color=INK, linestyle=(0, (4, 2)), linewidth=1, zorder=1)
    _beside(axes, 100 * threshold, f"threshold {100 * threshold:g} %", INK, "left")


def _beside(axes: Axes, height: float, text: str, colour: str, side: Literal["left", "right"] = "right") -> None:
    where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 7.5, "color": colour}
    axes.text(0.01 if side == "left" else 0.99, height, text, ha=side, va="bottom", **where)


def _caption(analysis: SweepAnalysis, merge: str) -> str:
    seeds = len(analysis.seeds)
    band = "the range of the seeds" if seeds > 1 else "95 % intervals"
    line = f"means over {seeds} seeds" if seeds > 1 else "scores"
    grey = " Grey: methods beyond six, and controls." if len(analysis.forgetting_labels) > len(SERIES) else ""
    return (
        f"{section_of(analysis, merge)}, over λ: {line} on the test split; bands are {band}. Every line starts at "
        f"the target (λ = 0, dotted). Rings: the λ that was {analysis.choosing}. Crosses: unstable points, which no "
        f"line goes through; harm that is low there is a broken model, not a forgetting.{grey}"
    )
