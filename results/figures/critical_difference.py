"""The critical-difference diagram: methods on one line of mean ranks, bars joining what cannot be told apart.

Source: Demšar, JMLR 7 (2006), fig. 1, with names at their marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.figures.drawing import COLOURS, INK, MUTED, new_figure
from results.statistics.inference import ALPHA
from results.statistics.ranks import Ranking
from results.study.lineup import Lineup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.235  # inches between two names
_BAR = 0.13  # inches between two bars


def critical_difference_diagram(made: Ranking | None, lineup: Lineup) -> tuple[Figure, str] | None:
    """The diagram of a ranking; None where there is none, or one cell alone.

    Args:
        made: the ranking.
        lineup: who takes part; it says which methods are controls.
    """
    if made is None or made.friedman is None:
        return None
    count = len(made.labels)
    left = (count + 1) // 2  # best half on the left, as Demšar draws it
    depth = 0.26 + _BAR * len(made.groups) + _ROW * left
    height = 0.98 + depth
    figure, panels = new_figure(8.2, height, 1, 1)
    axes = panels[0, 0]
    figure.subplots_adjust(left=0.2, right=0.8, bottom=0.06 / height, top=1 - 0.1 / height)
    inches = height - 0.16
    axes.set_xlim(0.9, count + 0.1)
    axes.set_ylim(-depth, inches - depth)
    axes.axis("off")
    _scale(axes, made, count)
    for row, (first, last) in enumerate(made.groups):
        y = -0.13 - _BAR * row
        axes.plot(
            [made.mean_K[first] - 0.04, made.mean_K[last] + 0.04],
            [y, y],
            color=INK,
            linewidth=3.2,
            solid_capstyle="butt",
        )
    below = -0.16 - _BAR * len(made.groups)
    for place, (label, mean) in enumerate(zip(made.labels, made.mean_K, strict=True)):
        on_left = place < left
        row = place if on_left else count - 1 - place
        _name(axes, label, lineup.group_of(label), float(mean), below - _ROW * (row + 0.5), on_left, count)
    tells = made.friedman.p < ALPHA
    caption = (
        f"Mean ranks over {len(made.cells)} cells (merges × perplexity and merged tasks), 1 is best. Methods joined "
        "by a bar lie closer than the critical difference (CD, Nemenyi, 0.05) and cannot be told apart. "
        + ("" if tells else "Friedman’s test does not tell any method from the others. ")
        + "Blue: baselines, vermilion: LATA, grey: controls."
    )
    return figure, caption


def _scale(axes: Axes, made: Ranking, count: int) -> None:
    """The line of ranks with its ticks, and the length of the critical difference above it."""
    axes.plot([1, count], [0, 0], color=INK, linewidth=1.1)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.07], color=INK, linewidth=1)
        axes.text(tick, 0.11, str(tick), ha="center", va="bottom", fontsize=8, color=MUTED)
    axes.text((1 + count) / 2, 0.3, "mean rank", ha="center", va="bottom", fontsize=8.5, color=MUTED)
    end = 1 + made.critical
    y = 0.56
    axes.plot([1, min(end, count)], [y, y], color=INK, linewidth=1.6)
    axes.plot([1, 1], [y - 0.05, y + 0.05], color=INK, linewidth=1.1)
    if end <= count:
        axes.plot([end, end], [y - 0.05, y + 0.05], color=INK, linewidth=1.1)
    more = "" if end <= count else ", longer than the scale"
    axes.text(1, y + 0.1, f"CD = {made.critical:.2f}{more}", ha="left", va="bottom", fontsize=8.5)


def _name(axes: Axes, label: str, group: str, mean: float, y: float, on_left: bool, count: int) -> None:
    """A name at the side, its mean rank, and the line from there to its place on the scale."""
    end = 0.9 if on_left else count + 0.1
    colour = COLOURS[group]
    axes.plot([mean, mean, end], [0, y, y], color=colour, linewidth=1.2, solid_joinstyle="miter")
    axes.plot([mean], [0], "o", markersize=5, color=colour, clip_on=False, zorder=3)
    weight = "bold" if group == "lata" else "normal"
    shift = -4 if on_left else 4
    axes.annotate(
        f"{label}  {mean:.2f}" if on_left else f"{mean:.2f}  {label}",
        (end, y),
        xytext=(shift, 0),
        textcoords="offset points",
        ha="right" if on_left else "left",
        va="center_baseline",
        fontsize=8.5,
        fontweight=weight,
        annotation_clip=False,
    )
