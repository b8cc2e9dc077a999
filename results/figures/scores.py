"""Scores by method with intervals, as dots: a row of panels a merge, a column a task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from results.analysis.analysis import Analysis
from results.figures.drawing import INK, MUTED, RULE, SHADE, draw_dots, new_figure, stable_limit, usable
from results.study.lineup import Model
from results.study.wording import heading_of, in_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def scores(analysis: Analysis) -> tuple[Figure, str] | None:
    """Scores by method with intervals: a row of panels a learning merge, a column a task."""
    merges, tasks = analysis.lineup.merges("learn"), [t for t in analysis.lineup.tasks if t in analysis.measures]
    if not merges or not tasks:
        return None
    labels = analysis.lineup.labels("learn")
    figure = _dot_panels(analysis, "learn", merges, tasks, labels, lambda merge: Model("model", "", "pre"))
    caption = (
        "Scores by method with 95 % intervals. Blue: baselines, vermilion: LATA, hollow grey: controls. "
        f"The dashed line is {analysis.lineup.baseline}, the dotted one the model before merging."
    )
    return figure, caption


def forgetting(analysis: Analysis) -> tuple[Figure, str] | None:
    """Scores after forgetting, with the target's own as a dotted line."""
    merges, tasks = analysis.lineup.merges("forget"), [t for t in analysis.lineup.tasks if t in analysis.measures]
    if not merges or not tasks:
        return None
    labels = analysis.lineup.labels("forget")
    figure = _dot_panels(analysis, "forget", merges, tasks, labels, analysis.lineup.target)
    caption = "Forgetting with 95 % intervals. The dotted line is the target model before, the dashed one "
    return (
        figure,
        caption + f"{analysis.lineup.baseline}: compliance should fall, everything else stay on the dotted line.",
    )


def _dot_panels(
    analysis: Analysis,
    kind: str,
    merges: list[str],
    tasks: list[str],
    labels: list[str],
    start: Callable[[str], Model | None],
) -> Figure:
    # Inches; a character of a label takes about 0.075.
    left = max(1.55, 0.075 * max(map(len, labels)) + 0.15)
    width, panel, gap, top, bottom = 2.2 * len(tasks) + left + 0.45, 0.19 * len(labels) + 0.1, 0.52, 0.62, 0.5
    height = top + bottom + panel * len(merges) + gap * (len(merges) - 1)
    figure, panels = new_figure(width, height, len(merges), len(tasks))
    edges = {"top": 1 - top / height, "bottom": bottom / height, "hspace": gap / panel}
    figure.subplots_adjust(left=left / width, right=0.985, wspace=0.12, **edges)
    before = "pre" if kind == "learn" else "the target before"
    legend = f"dashed: {analysis.lineup.baseline} · dotted: {before} · bars: 95 % intervals · hollow: controls"
    figure.text(left / width, 0.08 / height, legend, fontsize=8, color=MUTED)
    for i, merge in enumerate(merges):
        for j, task in enumerate(tasks):
            axes = panels[i, j]
            member = kind == "forget" or task == "wikitext" or task in analysis.lineup.members(merge)
            _dot_panel(analysis, axes, kind, merge, task, labels, start(merge))
            axes.set_yticklabels(labels if j == 0 else [])
            if i == 0:
                axes.text(
                    0.5, 1.0, heading_of(task), transform=_above(axes, 26), ha="center", fontsize=9.5, color=INK
                )
            if j == 0:
                name = merge if kind == "learn" else f"{merge.rsplit('-', 1)[0]} without {merge.rsplit('-', 1)[-1]}"
                axes.text(0, 1.0, name, transform=_above(axes, 7), ha="left", fontweight="bold", fontsize=9.5)
            elif not member:
                axes.text(0.5, 1.0, "not merged", transform=_above(axes, 5), ha="center", fontsize=8, color=MUTED)
                axes.patch.set_facecolor(SHADE)
    return figure


def _above(axes: Axes, points: float) -> Any:
    from matplotlib.transforms import ScaledTranslation

    return axes.transAxes + ScaledTranslation(0, points / 72, axes.figure.dpi_scale_trans)


def _dot_panel(
    analysis: Analysis, axes: Axes, kind: str, merge: str, task: str, labels: list[str], start: Model | None
) -> None:
    found = analysis.estimates.get(task, {})
    scale = 100.0 if in_percent(task) else 1.0
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)))
    axes.tick_params(length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    for key, style in ((start, ":"), (Model(kind, merge, analysis.lineup.baseline), (0, (4, 2)))):
        if key in found and math.isfinite(found[key].value):
            axes.axvline(scale * found[key].value, color=MUTED, linestyle=style, linewidth=1.1, zorder=1)
    drawn: list[tuple[float, float, str, tuple[float, float]]] = []
    for y, label in enumerate(labels):
        key = Model(kind, merge, label)
        shown = key in found and usable(found[key].value, stable_limit(analysis, task))
        if not shown and analysis.lineup.unstable_seeds(key):
            axes.text(
                0.98, y, "unstable †", transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=7.5
            )
        if not shown:
            continue
        one = found[key]
        drawn.append((scale * one.value, float(y), label, (scale * one.low, scale * one.high)))
    if drawn:
        x, rows, names, spans = (list(part) for part in zip(*drawn, strict=True))
        draw_dots(axes, x, rows, [analysis.lineup.group_of(name) for name in names], spans)
    if in_percent(task):
        axes.set_xlim(-4, 104)
        axes.set_xticks([0, 25, 50, 75, 100])
