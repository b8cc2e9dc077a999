"""What all figures share: colours, fonts, dots with intervals.

Colours are Okabe and Ito's: blue for baselines, vermilion for LATA, hollow grey for controls.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.snapshot import Analysis
from results.study.lineup import Model
from results.study.selection import UNSTABLE_RATIO
from results.study.wording import in_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER, SHADE = "#1f2328", "#636c76", "#d4d9df", "#ffffff", "#f4f5f7"
COLOURS = {"baseline": "#0072b2", "lata": "#d55e00", "control": "#7a8390"}
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
STYLE: Any = {
    "svg.hashsalt": "lata",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
}


def new_figure(width: float, height: float, rows: int, columns: int, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """A figure of this size in inches and its panels (rows, columns), drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def draw_dots(
    axes: Axes, x: list[float], y: list[float], groups: list[str], spans: list[tuple[float, float]]
) -> None:
    """One dot a method in the colour of its group (`Lineup.group_of`), with its interval where `spans` has one.

    Controls are hollow.
    """
    for group, colour in COLOURS.items():
        own = [i for i, other in enumerate(groups) if other == group]
        if not own:
            continue
        bars = [i for i in own if spans and all(map(math.isfinite, spans[i]))]
        if bars:
            low, high = zip(*(spans[i] for i in bars), strict=True)
            axes.hlines([y[i] for i in bars], low, high, color=colour, linewidth=1.6, zorder=2)
        face = PAPER if group == "control" else colour
        axes.plot(
            *([side[i] for i in own] for side in (x, y)),
            "o",
            markersize=5.5,
            markerfacecolor=face,
            markeredgecolor=colour,
            markeredgewidth=1.3,
            zorder=3,
        )


def stable_limit(analysis: Analysis, task: str) -> float:
    """Above this a perplexity is not drawn: it would flatten every other difference."""
    pre = analysis.estimates.get(task, {}).get(Model("model", "", "pre"))
    return UNSTABLE_RATIO * pre.value if pre and not in_percent(task) else math.inf


def usable(value: float, limit: float) -> bool:
    """Whether a value can be drawn."""
    return math.isfinite(value) and value <= limit


#: Name → (caption, SVG, PNG).
Drawings = dict[str, tuple[str, bytes, bytes]]
